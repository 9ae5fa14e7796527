//! Writing back changes as little of the folder as it can, and never loses an edit.

use std::path::Path;

use tarn_core::RequestContext;
use tarn_meta::{PlanOptions, ResourceId, Resources};

use crate::resources::{apply, resources};
use crate::world;

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

fn write(folder: &Path, file: &str, text: &str) {
    std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
    std::fs::write(folder.join(file), text).unwrap();
}

const TWO: &str = "\
# The shop's systems.
kind: source
name: a   # the first
spec: { type: generator, rows: 1 }
---
# The second.
kind: source
name: b
spec:
  type: generator
  rows: 2
";

async fn apply_folder(resources: &Resources, ctx: &RequestContext, folder: &Path) {
    let parsed = resources.load(folder).await.unwrap();
    resources.apply(ctx, &parsed, &PlanOptions::default(), None, "").await.unwrap();
}

async fn delete(resources: &Resources, ctx: &RequestContext, names: &[&str]) {
    let delete = names.iter().map(|name| ResourceId::new("source", *name)).collect();
    let options = PlanOptions { delete, ..PlanOptions::default() };
    resources.apply(ctx, &Default::default(), &options, None, "").await.unwrap();
}

#[tokio::test]
async fn files_follow_the_state_and_comments_stay() {
    let (_data, world) = world::sqlite().await;
    let (resources, ctx) = (resources(&world), world.ctx());
    let project = tempfile::tempdir().unwrap();
    let folder = project.path();
    write(folder, "resources/systems/two.yaml", TWO);
    write(folder, "resources/c.yml", "kind: source\nname: c\nspec: {type: generator}\n");
    apply_folder(&resources, &ctx, folder).await;
    let report = resources.write_back(&ctx, folder).await.unwrap();
    assert_eq!(report, Default::default(), "nothing to do");
    assert_eq!(read(folder, "resources/systems/two.yaml"), TWO);

    let edit = "kind: source\nname: b\nspec: {type: generator, rows: 3}\n---\n\
                kind: table\nname: shop.orders\nspec: {freshness: 1s}\n";
    apply(&resources, &ctx, edit).await.unwrap();
    delete(&resources, &ctx, &["c"]).await;
    let report = resources.write_back(&ctx, folder).await.unwrap();
    assert_eq!(report.files, ["resources/systems/two.yaml", "resources/table/shop.orders.yaml"]);
    assert_eq!(report.removed, ["resources/c.yml"]);
    assert_eq!(report.kept, []);
    assert_eq!(read(folder, "resources/systems/two.yaml"), TWO.replace("rows: 2", "rows: 3"));
    assert!(!folder.join("resources/c.yml").exists());
    assert_eq!(resources.write_back(&ctx, folder).await.unwrap(), Default::default(), "once is enough");
    let parsed = resources.load(folder).await.unwrap();
    let options = PlanOptions { prune: true, ..PlanOptions::default() };
    assert!(resources.plan(&ctx, &parsed, &options).await.unwrap().is_empty(), "folder and state agree");

    delete(&resources, &ctx, &["a"]).await;
    resources.write_back(&ctx, folder).await.unwrap();
    assert!(!read(folder, "resources/systems/two.yaml").contains("name: a"));
    delete(&resources, &ctx, &["b"]).await;
    let report = resources.write_back(&ctx, folder).await.unwrap();
    assert_eq!(report.removed, ["resources/systems/two.yaml"]);
    resources.rollback(&ctx, 1).await.unwrap();
    resources.write_back(&ctx, folder).await.unwrap();
    let names: Vec<String> =
        resources.load(folder).await.unwrap().documents.into_iter().map(|document| document.name).collect();
    assert_eq!(names, ["c", "a", "b"], "each is back in the file it came from");
    let left: Vec<_> = std::fs::read_dir(folder.join("resources/systems")).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
}

#[tokio::test]
async fn an_edit_that_was_not_applied_is_kept() {
    let (_data, world) = world::sqlite().await;
    let (resources, ctx) = (resources(&world), world.ctx());
    let project = tempfile::tempdir().unwrap();
    let folder = project.path();
    write(folder, "resources/two.yaml", TWO);
    apply_folder(&resources, &ctx, folder).await;
    let edited = TWO.replace("rows: 2", "rows: 77");
    write(folder, "resources/two.yaml", &edited);
    write(folder, "resources/new.yaml", "kind: source\nname: new\nspec: {type: generator}\n");
    write(folder, "resources/broken.yaml", "kind: [\n");
    apply(&resources, &ctx, "kind: source\nname: b\nspec: {type: generator, rows: 3}\n").await.unwrap();
    delete(&resources, &ctx, &["a"]).await;
    let report = resources.write_back(&ctx, folder).await.unwrap();
    let kept: Vec<_> = report.kept.iter().map(|own| own.file.as_str()).collect();
    assert_eq!(kept, ["resources/broken.yaml", "resources/new.yaml", "resources/two.yaml"]);
    assert!(report.kept[2].reason.contains("source `b` was edited here and not applied"), "{report:?}");
    assert_eq!(report.files, ["resources/two.yaml"], "the other document of that file follows the state");
    let text = read(folder, "resources/two.yaml");
    assert!(text.contains("rows: 77") && !text.contains("name: a"), "{text}");
    assert_eq!(read(folder, "resources/broken.yaml"), "kind: [\n");
    assert!(folder.join("resources/new.yaml").exists());
    assert!(!folder.join("resources/source/b.yaml").exists(), "it is not declared twice");
}

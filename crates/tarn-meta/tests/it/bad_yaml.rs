//! Every way to write a document wrong is told with its place and what to do.

use tarn_meta::{DOCUMENT_BYTES_MAX, ParsedDocuments, PlanOptions, load_folder, parse_documents};

use crate::kinds::kinds;
use crate::resources::resources;
use crate::world;

fn problems(text: &str) -> Vec<String> {
    let parsed = parse_documents(text, Some("resources/shop.yaml"), &kinds());
    parsed.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_that_cannot_be_understood_are_told_at_their_line() {
    let cases: &[(&str, &str)] = &[
        ("kind: source\n  name: x\n", "not readable as YAML"),
        ("kind: [\n", "not readable as YAML"),
        ("a: &x [*x]\n", "not readable as YAML"),
        (
            "just text\n",
            "a document must be a mapping (resources/shop.yaml:1); write `kind: ...`, `name: ...` and `spec:`",
        ),
        ("- a\n", "a document must be a mapping (resources/shop.yaml:1)"),
        ("kind: source\n", "a resource without `name` (resources/shop.yaml:1); add `name: ...`"),
        ("# x\n\nname: shop\nspec: {}\n", "a resource without `kind` (resources/shop.yaml:3)"),
        ("kind: source\nname: 12\n", "`name` must be text (resources/shop.yaml:2); put the value in quotes"),
        ("kind: source\nname: [a]\n", "`name` must be text (resources/shop.yaml:2)"),
        ("kind: source\nname: a\nspec: text\n", "`spec` must be a mapping (resources/shop.yaml:3)"),
        ("kind: source\nname: a\nspec:\n- x\n", "`spec` must be a mapping (resources/shop.yaml:4)"),
        (
            "kind: source\nname: a\nspecs: {}\n",
            "unknown key `specs` in a resource (resources/shop.yaml:3); did you mean `spec`?",
        ),
        ("kind: sorce\nname: a\n", "unknown kind `sorce` (resources/shop.yaml:1); did you mean `source`?"),
        (
            "kind: elephant\nname: a\n",
            "unknown kind `elephant` (resources/shop.yaml:1); kinds are `source`, `table`",
        ),
        (
            "kind: source\nname: ../etc\n",
            "`../etc` is not a resource name (resources/shop.yaml:2); use 1 to 128",
        ),
        ("kind: table\nname: orders\n", "`orders` is not a table name (resources/shop.yaml:2)"),
        ("kind: source\nname: a\nname: b\n", "the key `name` occurs twice (resources/shop.yaml:3)"),
        (
            "kind: source\nname: a\n---\nkind: source\nname: a\n",
            "source `a` is declared twice (resources/shop.yaml:4); the other is at resources/shop.yaml:1",
        ),
        ("kind: source\nname: a\nspec: {x: !!binary aGk=}\n", "does not fit the tag"),
        (
            "kind: source\nname: a\nspec: {x: .nan}\n",
            "the number `.nan` is not finite; put it in quotes (resources/shop.yaml:3)",
        ),
        ("kind: source\0\n", "NUL"),
    ];
    for (text, expected) in cases {
        let found = problems(text);
        assert!(found.iter().any(|own| own.contains(expected)), "{text}\n{found:#?}\nlacks {expected}");
    }
    let large = format!("kind: source\nname: a\nspec: {{note: \"{}\"}}\n", "x".repeat(DOCUMENT_BYTES_MAX));
    assert!(problems(&large)[0].contains("several files"));
    let nested = format!("kind: source\nname: a\nspec: {}{}\n", "{a: ".repeat(80), "}".repeat(80));
    assert!(problems(&nested)[0].contains("deeper than 64"), "{:?}", problems(&nested));
    assert_eq!(problems(""), Vec::<String>::new());
    assert_eq!(problems("# only a comment\n---\n---\n"), Vec::<String>::new());
}

#[tokio::test]
async fn specs_that_break_their_schema_are_told_at_their_line() {
    let (_folder, world) = world::sqlite().await;
    let (resources, ctx) = (resources(&world), world.ctx());
    let head = "kind: source\nname: shop\nspec:\n  type: postgres_cdc\n";
    let url = "  url: postgres://h/d\n";
    let at = "resources/shop.yaml";
    let cases: &[(String, String)] = &[
        (
            "  url: postgres://h/d\n  tabels: [a]\n".into(),
            format!("unknown key `tabels` in source `shop` ({at}:6); did you mean `tables`?"),
        ),
        (
            "  url: postgres://h/d\n  zzzzzzz: 1\n".into(),
            format!("unknown key `zzzzzzz` in source `shop` ({at}:6); keys here are `into`, `paused`, `url`"),
        ),
        ("  port: 1\n".into(), format!("`url` is missing in source `shop` ({at}:4)")),
        (format!("{url}  port: many\n"), format!("`port` must be a whole number in source `shop` ({at}:6)")),
        (format!("{url}  port: 70000\n"), format!("`port` must be at most 65535 in source `shop` ({at}:6)")),
        (format!("{url}  tables: a\n"), format!("`tables` must be a list in source `shop` ({at}:6)")),
        (format!("{url}  tables: []\n"), "`tables` must have at least 1 items".into()),
        (
            format!("{url}  tables:\n    - a\n    - 5\n"),
            format!("`tables[1]` must be text in source `shop` ({at}:8)"),
        ),
        (
            format!("{url}  mode: snapshto\n"),
            format!(
                "`mode` must be one of `snapshot`, `stream` in source `shop` ({at}:6); did you mean `snapshot`?"
            ),
        ),
        (
            format!("{url}  retry:\n    atempts: 5\n"),
            format!("unknown key `atempts` in `retry` in source `shop` ({at}:7); did you mean `attempts`?"),
        ),
        (
            format!("{url}  retry:\n    wait: 30 secs\n"),
            format!("`retry.wait` is not in the right form in source `shop` ({at}:7); write it like `30s`"),
        ),
        (format!("{url}  retry: 5\n"), format!("`retry` must be a mapping in source `shop` ({at}:6)")),
        (
            format!("{url}  filter:\n    by: pattern\n    patern: x\n"),
            format!("unknown key `patern` in `filter` in source `shop` ({at}:8); did you mean `pattern`?"),
        ),
        (format!("{url}  filter: 5\n"), "`filter` has none of the forms that it may have".into()),
        (
            "  url: mysql://hunter2\n".into(),
            format!("`url` does not have the form `^postgres://` in source `shop` ({at}:5)"),
        ),
        (
            format!("{url}  port: {{secret: p}}\n"),
            format!("`port` must be a whole number, and a secret is text in source `shop` ({at}:6)"),
        ),
        (
            format!("{url}  password: {{secret: \"a b\"}}\n"),
            format!("`a b` cannot be the name of a secret ({at}:6)"),
        ),
        (
            format!("{url}  password: hunter2\n"),
            format!(
                "`password` in source `shop` holds its value in the open ({at}:6); run `tarn access secret set shop_password`"
            ),
        ),
        (format!("{url}  into: system\n"), format!("`into` cannot be `system` ({at}:6); choose another")),
        (format!("{url}  paused: maybe\n"), "`paused` must be true or false".into()),
    ];
    for (body, expected) in cases {
        let parsed = resources.parse(&format!("{head}{body}"), Some(at));
        assert_eq!(parsed.problems, []);
        let plan = resources.plan(&ctx, &parsed, &PlanOptions::default()).await.unwrap();
        let found: Vec<String> = plan.all_problems().map(ToString::to_string).collect();
        assert!(found.iter().any(|own| own.contains(expected)), "{body}\n{found:#?}\nlacks {expected}");
        assert!(!found.iter().any(|own| own.contains("hunter2")), "values are not repeated: {found:#?}");
    }
    for (text, expected) in [
        (
            "type: postgress_cdc",
            "unknown source type `postgress_cdc` in source `shop` (resources/shop.yaml:4); did you mean `postgres_cdc`?",
        ),
        ("type: 5", "`type` must be text (resources/shop.yaml:4)"),
        (
            "into: x",
            "source `shop` has no `type` (resources/shop.yaml:4); source types are `generator`, `postgres_cdc`",
        ),
    ] {
        let parsed = resources.parse(&format!("kind: source\nname: shop\nspec:\n  {text}\n"), Some(at));
        let plan = resources.plan(&ctx, &parsed, &PlanOptions::default()).await.unwrap();
        let found: Vec<String> = plan.all_problems().map(ToString::to_string).collect();
        assert_eq!(found, [expected]);
    }
}

#[tokio::test]
async fn what_is_right_has_no_problem() {
    let (_folder, world) = world::sqlite().await;
    let (resources, ctx) = (resources(&world), world.ctx());
    world.store.put_sealed(&ctx, "shop_password", "x").await.unwrap();
    let text = "kind: source\nname: 门店\nspec:\n  type: postgres_cdc\n  into: shop\n  url: {secret: shop_password}\n  \
                password: {secret: shop_password}\n  tables: [a]\n  filter: {by: column, column: x}\n";
    let plan = resources.plan(&ctx, &resources.parse(text, None), &PlanOptions::default()).await.unwrap();
    assert!(plan.ok && plan.all_problems().count() == 0, "{plan:#?}");
    let schema = resources.kinds().get("source").unwrap().full_schema();
    let choices: Vec<_> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["properties"]["type"]["const"].clone())
        .collect();
    assert_eq!(choices, ["generator", "postgres_cdc"]);
    assert_eq!(schema["oneOf"][1]["properties"]["paused"]["type"], "boolean");
}

#[test]
fn folders_are_read_in_order_and_faults_name_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join("resources").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    assert_eq!(load_folder(folder.path(), &kinds()).unwrap(), ParsedDocuments::default());
    write("b.yml", "kind: source\nname: b\n");
    write("a/x.yaml", "\u{feff}kind: source\nname: a\n---\nkind: table\nname: a.t\n");
    write("c.yaml", "kind: source\nname: b\n");
    write("broken.yaml", "kind: [\n");
    write(".hidden.yaml", "kind: nonsense\n");
    write("notes.txt", "kind: nonsense\n");
    std::fs::write(folder.path().join("resources/latin.yaml"), b"kind: \xff\n").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("resources/circle")).unwrap();
    let parsed = load_folder(folder.path(), &kinds()).unwrap();
    let names: Vec<_> = parsed.documents.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["a", "a.t", "b"]);
    assert_eq!(parsed.documents[1].origin.file.as_deref(), Some("resources/a/x.yaml"));
    assert_eq!(parsed.documents[1].origin.line, 4);
    let problems: Vec<_> = parsed.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("resources/broken.yaml:"));
    assert!(problems[1].contains("resources/c.yaml:1); the other is at resources/b.yml:1"), "{problems:#?}");
    assert!(problems[2].contains("resources/latin.yaml"));
}

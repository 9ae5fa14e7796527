//! Laws that hold for every history: exporting and applying changes nothing, and a rollback restores a state exactly.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tarn_core::RequestContext;
use tarn_meta::{
    ChangeAction, ParsedDocuments, PlanOptions, ResourceDocument, ResourceId, Resources, StoredResource,
};

use crate::resources::resources;
use crate::world::World;

const HISTORIES: u64 = 12;
const STEPS: usize = 14;

pub async fn suite(world: &World) {
    let first = std::env::var("TARN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in first..first + HISTORIES {
        one_history(world, seed).await;
    }
}

type State = BTreeMap<(String, String), Value>;

fn state_of(all: &[StoredResource]) -> State {
    all.iter().map(|own| ((own.kind.clone(), own.name.clone()), own.spec.clone())).collect()
}

fn random_spec(rng: &mut StdRng) -> Value {
    const NOTES: &[&str] =
        &["", "yes", "1.0", "a\nb\n", "- x", "门店: #1", "tab\there", " lead", "{}", "null", "|"];
    let mut spec = json!({ "type": "generator", "rows": rng.random_range(0..4) });
    if rng.random() {
        spec["note"] = json!(NOTES.choose(rng).unwrap());
    }
    spec
}

async fn random_step(rng: &mut StdRng, resources: &Resources, ctx: &RequestContext, states: &[State]) {
    if rng.random_ratio(1, 4) {
        let target = rng.random_range(0..states.len());
        let before = resources.current(ctx).await.unwrap().0;
        let rolled = resources.rollback(ctx, u64::try_from(target).unwrap()).await.unwrap();
        let (current, all) = resources.current(ctx).await.unwrap();
        assert_eq!(state_of(&all), states[target], "rollback restores the state exactly");
        let is_noop = states.last() == Some(&states[target]);
        assert_eq!(current, if is_noop { before } else { before + 1 });
        assert_eq!(rolled.revision, current);
        return;
    }
    let names = ["a", "b", "c", "d"];
    let mut declared: BTreeMap<&str, Value> = BTreeMap::new();
    for _ in 0..rng.random_range(0..3) {
        declared.insert(names.choose(rng).unwrap(), random_spec(rng));
    }
    let mut options = PlanOptions { prune: rng.random_ratio(1, 6), ..PlanOptions::default() };
    let existing = states.last().unwrap();
    for ((kind, name), _) in existing.iter().filter(|((_, name), _)| !declared.contains_key(name.as_str())) {
        if rng.random_ratio(1, 4) {
            options.delete.push(ResourceId::new(kind, name));
        }
    }
    let documents =
        declared.into_iter().map(|(name, spec)| ResourceDocument::new("source", name, spec)).collect();
    let parsed = ParsedDocuments::of(documents);
    let plan = resources.plan(ctx, &parsed, &options).await.unwrap();
    assert!(plan.ok, "{plan:?}");
    let applied = resources.apply(ctx, &parsed, &options, Some(plan.base_revision), "").await.unwrap();
    assert_eq!(applied.changes, plan.changes, "an apply does what its plan says");
    assert_eq!(applied.revision == plan.base_revision, plan.is_empty());
}

async fn one_history(world: &World, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (resources, ctx) = (resources(world), world.ctx());
    let mut states = vec![State::new()];
    for _ in 0..STEPS {
        random_step(&mut rng, &resources, &ctx, &states).await;
        let (current, all) = resources.current(&ctx).await.unwrap();
        if usize::try_from(current).unwrap() == states.len() {
            states.push(state_of(&all));
        }
        assert_eq!(state_of(&all), *states.last().unwrap(), "seed {seed}");
        export_changes_nothing(&resources, &ctx, current, seed).await;
    }
    for (number, state) in states.iter().enumerate() {
        let stored = world.store.resources_at(&ctx, u64::try_from(number).unwrap()).await.unwrap();
        assert_eq!(state_of(&stored), *state, "seed {seed}: revision {number} stays as it was");
    }
}

async fn export_changes_nothing(resources: &Resources, ctx: &RequestContext, current: u64, seed: u64) {
    let text = resources.export(ctx).await.unwrap();
    let parsed = resources.parse(&text, None);
    assert_eq!(parsed.problems, [], "seed {seed}\n{text}");
    let options = PlanOptions { prune: true, ..PlanOptions::default() };
    let applied = resources.apply(ctx, &parsed, &options, None, "").await.unwrap();
    assert_eq!(applied.revision, current, "seed {seed}\n{text}");
    assert!(
        applied.changes.iter().all(|change| change.action == ChangeAction::None && change.diff.is_empty())
    );
    assert_eq!(resources.export(ctx).await.unwrap(), text, "the export is stable");
}

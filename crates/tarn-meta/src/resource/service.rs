//! Plan, apply, roll back and export, and the news of a new revision.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tarn_core::{Env, RequestContext, TenantId, chain_text, nearest};
use tokio::sync::watch;
use tracing::warn;

use super::diff;
use super::document::{ParsedDocuments, ResourceDocument, ResourceId, parse_documents};
use super::folder::load_folder;
use super::kind::Kinds;
use super::plan::{Applied, Draft, DraftInputs, Plan, PlanOptions, between, draft};
use super::revision::{NewRevision, StoredResource};
use super::status::{ResourceStatus, StatusReport};
use super::view::{ChangeView, ResourceView, RevisionDetail, RevisionView, document_yaml};
use super::write_back::{self, WriteBack};
use crate::error::MetaError;
use crate::store::MetaStore;

const MESSAGE_CHARS_MAX: usize = 1_000;

/// The declared resources of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Resources {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn MetaStore>,
    kinds: Kinds,
    env: Env,
    /// One sender per tenant that was asked for.
    news: Mutex<HashMap<TenantId, watch::Sender<u64>>>,
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resources({:?})", self.inner.store)
    }
}

impl Resources {
    /// Over a store, for the kinds that the program knows.
    pub fn new(store: Arc<dyn MetaStore>, kinds: Kinds, env: Env) -> Self {
        Self { inner: Arc::new(Inner { store, kinds, env, news: Mutex::new(HashMap::new()) }) }
    }

    /// The kinds.
    pub fn kinds(&self) -> &Kinds {
        &self.inner.kinds
    }

    /// Reads documents from a text, such as the body of a request.
    pub fn parse(&self, text: &str, file: Option<&str>) -> ParsedDocuments {
        parse_documents(text, file, &self.inner.kinds)
    }

    /// Reads the documents of a project folder off the async threads. Errors: `Io`.
    pub async fn load(&self, project: &Path) -> Result<ParsedDocuments, MetaError> {
        let (kinds, project) = (self.inner.kinds.clone(), project.to_path_buf());
        let place = project.display().to_string();
        let loaded = self.inner.env.spawner.spawn_blocking(move || load_folder(&project, &kinds)).await;
        loaded.map_err(|error| MetaError::Io {
            action: "read",
            path: place,
            source: std::io::Error::other(error),
        })?
    }

    /// What an apply of these documents would do now.
    pub async fn plan(
        &self,
        ctx: &RequestContext,
        parsed: &ParsedDocuments,
        options: &PlanOptions,
    ) -> Result<Plan, MetaError> {
        Ok(self.draft(ctx, parsed, options).await?.plan)
    }

    async fn draft(
        &self,
        ctx: &RequestContext,
        parsed: &ParsedDocuments,
        options: &PlanOptions,
    ) -> Result<Draft, MetaError> {
        let store = &self.inner.store;
        let (base, current) = store.resources(ctx).await?;
        let secrets: BTreeSet<String> =
            store.sealed_names(ctx).await?.into_iter().map(|secret| secret.name).collect();
        let kinds = &self.inner.kinds;
        Ok(draft(&DraftInputs { kinds, base, current: &current, parsed, options, secrets: &secrets }))
    }

    /// Makes the documents the declared state, as one revision by the context's principal. Without any change there
    /// is no new revision.
    ///
    /// `base`: the revision that the caller planned on, `None` to apply on the newest.
    /// Errors: `InvalidResources` if a problem is an error, `RevisionConflict` if someone else applied first.
    pub async fn apply(
        &self,
        ctx: &RequestContext,
        parsed: &ParsedDocuments,
        options: &PlanOptions,
        base: Option<u64>,
        message: &str,
    ) -> Result<Applied, MetaError> {
        let draft = self.draft(ctx, parsed, options).await?;
        let current = draft.plan.base_revision;
        if let Some(base) = base.filter(|base| *base != current) {
            return Err(MetaError::RevisionConflict { base, current });
        }
        if !draft.plan.ok {
            return Err(MetaError::InvalidResources {
                problems: draft.plan.all_problems().cloned().collect(),
            });
        }
        self.store_draft(ctx, draft, message).await
    }

    /// Adds a revision whose state is that of revision `target`; 0 is the state without resources.
    /// Errors: `RevisionNotFound`, `RevisionConflict` if someone applies at the same moment.
    pub async fn rollback(&self, ctx: &RequestContext, target: u64) -> Result<Applied, MetaError> {
        let store = &self.inner.store;
        let wanted = store.resources_at(ctx, target).await?;
        let (base, current) = store.resources(ctx).await?;
        let draft = between(base, &current, &wanted);
        self.store_draft(ctx, draft, &format!("roll back to revision {target}")).await
    }

    async fn store_draft(
        &self,
        ctx: &RequestContext,
        draft: Draft,
        message: &str,
    ) -> Result<Applied, MetaError> {
        let Draft { plan, changes } = draft;
        if changes.is_empty() {
            return Ok(Applied { revision: plan.base_revision, changes: plan.changes });
        }
        let new = NewRevision {
            base: plan.base_revision,
            author: ctx.principal.name.to_string(),
            message: message.trim().chars().take(MESSAGE_CHARS_MAX).collect(),
            changes,
        };
        let revision = self.inner.store.append_revision(ctx, &new).await?;
        self.announce(&ctx.tenant, revision);
        Ok(Applied { revision, changes: plan.changes })
    }

    /// The newest revision and its documents, by kind and name.
    pub async fn current(&self, ctx: &RequestContext) -> Result<(u64, Vec<StoredResource>), MetaError> {
        self.inner.store.resources(ctx).await
    }

    /// One resource of the newest revision. Errors: `ResourceNotFound` with the nearest name.
    pub async fn get(&self, ctx: &RequestContext, id: &ResourceId) -> Result<StoredResource, MetaError> {
        let (_, all) = self.current(ctx).await?;
        let names = all.iter().filter(|own| own.kind == id.kind).map(|own| own.name.as_str());
        let similar = nearest(&id.name, names).map(ToString::to_string);
        all.into_iter().find(|own| own.kind == id.kind && own.name == id.name).ok_or_else(|| {
            MetaError::ResourceNotFound { kind: id.kind.clone(), name: id.name.clone(), similar }
        })
    }

    /// The newest documents with how they fare.
    pub async fn list(&self, ctx: &RequestContext) -> Result<Vec<ResourceView>, MetaError> {
        let (_, all) = self.current(ctx).await?;
        let statuses = self.statuses(ctx).await?;
        let status_of =
            |own: &StoredResource| statuses.iter().find(|s| s.kind == own.kind && s.name == own.name);
        Ok(all
            .into_iter()
            .map(|own| {
                let status = status_of(&own);
                ResourceView::new(own, status)
            })
            .collect())
    }

    /// All documents as one YAML text, by kind and name; applying it changes nothing.
    pub async fn export(&self, ctx: &RequestContext) -> Result<String, MetaError> {
        let (_, all) = self.current(ctx).await?;
        let texts: Vec<String> =
            all.iter().map(|own| document_yaml(&own.kind, &own.name, &own.spec)).collect();
        Ok(texts.join("---\n"))
    }

    /// The newest revisions, newest first.
    pub async fn revisions(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<RevisionView>, MetaError> {
        Ok(self.inner.store.revisions(ctx, limit).await?.into_iter().map(RevisionView::from).collect())
    }

    /// One revision with its diffs. Errors: `RevisionNotFound`.
    pub async fn revision(&self, ctx: &RequestContext, number: u64) -> Result<RevisionDetail, MetaError> {
        let store = &self.inner.store;
        let RevisionView { revision, at, author, message, changes } =
            store.revision(ctx, number).await?.into();
        let before = store.resources_at(ctx, number.saturating_sub(1)).await?;
        let after = store.resources_at(ctx, number).await?;
        let spec = |state: &[StoredResource], kind: &str, name: &str| -> Option<Value> {
            state.iter().find(|own| own.kind == kind && own.name == name).map(|own| own.spec.clone())
        };
        let mut views = Vec::with_capacity(changes.len());
        for change in changes {
            let id = ResourceId::new(&change.kind, &change.name);
            let (old, new) = (spec(&before, &id.kind, &id.name), spec(&after, &id.kind, &id.name));
            let diff = diff::unified(&id, old.as_ref(), new.as_ref());
            views.push(ChangeView { action: change.action, kind: change.kind, name: change.name, diff });
        }
        Ok(RevisionDetail { revision, at, author, message, changes: views })
    }

    /// Stores what a server says about a resource.
    pub async fn set_status(&self, ctx: &RequestContext, report: &StatusReport) -> Result<(), MetaError> {
        self.inner.store.set_status(ctx, report).await
    }

    /// What servers said about resources.
    pub async fn statuses(&self, ctx: &RequestContext) -> Result<Vec<ResourceStatus>, MetaError> {
        self.inner.store.statuses(ctx).await
    }

    /// Writes the newest documents into the project folder, each into the file it came from, a new one into
    /// `resources/<kind>/<name>.yaml`. Documents and comments that did not change stay as they are, and a file that
    /// was edited but not applied is kept. Errors: `Io`.
    pub async fn write_back(&self, ctx: &RequestContext, project: &Path) -> Result<WriteBack, MetaError> {
        let inputs = write_back::inputs(self, &*self.inner.store, ctx, project).await?;
        let place = project.display().to_string();
        let work = self.inner.env.spawner.spawn_blocking(move || write_back::run(&inputs)).await;
        work.map_err(|error| MetaError::Io {
            action: "write",
            path: place,
            source: std::io::Error::other(error),
        })?
    }

    /// The number of the newest revision of the context's tenant, updated at once by an apply of this process, and
    /// by [`Resources::follow`] after one of another process.
    pub async fn watch(&self, ctx: &RequestContext) -> Result<watch::Receiver<u64>, MetaError> {
        // Subscribed before the read, so that no apply falls in between.
        let receiver = self.sender(&ctx.tenant).subscribe();
        let current = self.inner.store.current_revision(ctx).await?;
        self.announce(&ctx.tenant, current);
        Ok(receiver)
    }

    fn sender(&self, tenant: &TenantId) -> watch::Sender<u64> {
        self.inner.news.lock().entry(tenant.clone()).or_insert_with(|| watch::channel(0).0).clone()
    }

    fn announce(&self, tenant: &TenantId, revision: u64) {
        self.sender(tenant).send_if_modified(|newest| {
            let is_newer = revision > *newest;
            *newest = revision.max(*newest);
            is_newer
        });
    }

    /// Starts a task that looks for revisions of other processes every `interval` until shutdown.
    pub fn follow(&self, ctx: &RequestContext, interval: Duration) {
        let (own, ctx) = (self.clone(), ctx.clone());
        let spawner = self.inner.env.spawner.clone();
        let stop = spawner.stopping();
        spawner.spawn(async move {
            let mut was_reachable = true;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = own.inner.env.clock.sleep(interval) => {}
                }
                let found = own.inner.store.current_revision(&ctx).await;
                match &found {
                    Ok(revision) => own.announce(&ctx.tenant, *revision),
                    // Said once, not every second.
                    Err(error) if was_reachable => {
                        warn!(tenant = %ctx.tenant, error = chain_text(error), "could not look for new revisions");
                    }
                    Err(_) => {}
                }
                was_reachable = found.is_ok();
            }
        });
    }
}

impl ParsedDocuments {
    /// Documents that were not read from text.
    pub fn of(documents: Vec<ResourceDocument>) -> Self {
        Self { documents, problems: Vec::new() }
    }
}

//! The applier's own parts against a server: sessions, loaders, workers, without services around them.

use std::sync::Arc;

use anyhow::{Context, Result};
use applier::counters::Counters;
use applier::error::Place;
use applier::plan::{Action, Change, ChunkStep, Close, Piece, SnapshotWork, SourceTable};
use applier::snapshot::load::Loader;
use applier::snapshot::states;
use applier::target::{Connector, Identity, LoaderMove, Position, PositionStore, Progress, Session};
use applier::worker::{Worker, WorkerOptions};
use common::config::{OnDivergence, Server as Address, ServerUrl, Snapshot, Tls, Write};
use common::record::{Op, Rows, SourceInfo};
use common::snapshot::{SnapshotChunk, SnapshotStep, TableName};
use common::{Flavor, Seq, TableSchema, codec};
use harness::Server;

/// Rows as a reader would append them.
pub(crate) struct Logged<'a> {
    pub(crate) schema: &'a TableSchema,
    pub(crate) timestamp: u32,
    pub(crate) op: Op,
    pub(crate) columns_before: &'a [u8],
    pub(crate) columns_after: &'a [u8],
    pub(crate) images: &'a [u8],
}

/// A destination of the pipeline `test`.
pub(crate) struct Target {
    pub(crate) connector: Connector,
    pub(crate) identity: Identity,
    pub(crate) source: Arc<SourceInfo>,
}

impl Target {
    /// With our tables made and the position at 0.
    pub(crate) async fn new(server: &Server, source: Flavor, version: &str) -> Result<Self> {
        let (url, password) = ServerUrl::parse(&server.url("root")).map_err(anyhow::Error::msg)?;
        let address = Address { url, password, tls: Tls::default() };
        let connector = Connector::new(address, std::time::Duration::from_secs(5));
        let identity = Identity {
            database: "logweir".into(),
            pipeline: "test".into(),
            destination: "there".into(),
            store: "00000000-0000-0000-0000-000000000000".into(),
        };
        let mut session = connector.open().await?;
        let positions = PositionStore { identity: identity.clone(), worker: 0 };
        positions.create(&mut session).await?;
        states::create(&mut session, &identity).await?;
        positions.begin_at(&mut session, Seq(0)).await?;
        session.close().await;
        let source = Arc::new(SourceInfo {
            flavor: source,
            version: version.into(),
            server_uuid: String::new(),
            server_id: 1,
            epoch: 1,
            format_description: vec![],
        });
        Ok(Self { connector, identity, source })
    }

    pub(crate) async fn session(&self) -> Result<Session> {
        Ok(self.connector.open().await?)
    }

    pub(crate) async fn loader(&self, options: Snapshot) -> Result<Loader> {
        Ok(Loader::open(&self.connector, self.identity.clone(), Arc::new(options)).await?)
    }

    /// The statement by which the tests' loaders move a position: the row stays what it is.
    pub(crate) fn stay(&self) -> LoaderMove {
        LoaderMove { sql: format!("UPDATE {} SET applied_at=SYSDATE(6)", self.identity.table("position")), worker: 1 }
    }

    pub(crate) async fn worker(&self, options: Snapshot) -> Result<Worker> {
        let mut session = self.session().await?;
        let positions = PositionStore { identity: self.identity.clone(), worker: 0 };
        let position: Position = positions.read(&mut session).await?.context("no position")?;
        let how = WorkerOptions { write: Write::Auto, on_divergence: OnDivergence::Stop };
        let mut worker =
            Worker::new(self.connector.clone(), session, positions, how, Arc::new(Counters::default()), &position);
        worker.use_snapshot(Arc::new(options));
        Ok(worker)
    }

    pub(crate) fn chunk(&self, logged: &[Logged<'_>]) -> Result<ChunkStep> {
        let first = logged.first().context("no rows")?;
        let table = Arc::new(SourceTable::new(first.schema.id()?, first.schema.clone())?);
        let mut rows = 0;
        let mut changes = vec![];
        for one in logged {
            rows += u64::from(table.layout.count(one.op, one.columns_before, one.columns_after, one.images)?);
            changes.push(self.change(one, &table, true)?);
        }
        let chunk = SnapshotChunk {
            run: 1,
            table: TableName { database: first.schema.database.clone(), table: first.schema.table.clone() },
            span: 0,
            spans: vec![],
            reached: vec![],
            ends_span: false,
            rows,
            bytes: 0,
            at: Default::default(),
        };
        let bytes = changes.iter().map(|change| change.bytes() as u64).sum();
        Ok(ChunkStep {
            place: Arc::new(Place::default()),
            chunk,
            table,
            changes,
            source: self.source.clone(),
            progress: Progress::default(),
            rows,
            bytes,
        })
    }

    fn change(&self, logged: &Logged<'_>, table: &Arc<SourceTable>, idempotent: bool) -> Result<Change> {
        let count = table.layout.count(logged.op, logged.columns_before, logged.columns_after, logged.images)?;
        let rows = Rows {
            schema: table.id,
            op: logged.op,
            flags: 1,
            row_count: count,
            columns_before: logged.columns_before,
            columns_after: logged.columns_after,
            images: logged.images,
            more_bytes: 0,
        };
        let mut change = Change::new(Arc::new(Place::default()), table.clone(), codec::encode(&rows)?);
        change.idempotent = idempotent;
        change.timestamp = logged.timestamp;
        Ok(change)
    }

    /// One destination transaction that puts changes in place.
    pub(crate) fn piece(&self, logged: &[Logged<'_>], seq: u64) -> Result<Piece> {
        let mut actions = vec![];
        for one in logged {
            let table = Arc::new(SourceTable::new(one.schema.id()?, one.schema.clone())?);
            actions.push(Action::Rows(self.change(one, &table, true)?));
        }
        Ok(Piece {
            opens: true,
            actions,
            close: Close::Commit(Progress { seq: Seq(seq), ..Progress::default() }),
            first: Arc::new(Place { seq: Seq(seq), ..Place::default() }),
            source: self.source.clone(),
            transactions: 1,
            rows: 0,
            bytes: 0,
            clears_intent: false,
        })
    }

    pub(crate) fn work(&self, step: SnapshotStep, seq: u64) -> SnapshotWork {
        SnapshotWork {
            place: Arc::new(Place { seq: Seq(seq), ..Place::default() }),
            step,
            progress: Progress { seq: Seq(seq), ..Progress::default() },
            source: self.source.clone(),
        }
    }
}

//! A DataFusion session that can read our tables and nothing else: no files, no addresses, no settings, no spilling.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;

use crate::sql::functions;

/// The only place that plans can read from.
pub(crate) const SEGMENTS_URL: &str = "shipwake://segments";
const CATALOG: &str = "shipwake";
const SCHEMA: &str = "public";
/// Footers of segments that are kept between queries: about a hundred segments.
const METADATA_CACHE_BYTES: usize = 16 << 20;

/// Functions that make much out of little: their result is allocated before any budget is asked. What is missing can be
/// said in another way (`generate_series` in FROM makes rows one batch at a time).
const SCALAR_FUNCTIONS_LEFT_OUT: [&str; 8] =
    ["repeat", "lpad", "rpad", "array_repeat", "array_resize", "range", "generate_series", "input_file_name"];

/// What all sessions share: where segments are, and what is known of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    environment: Arc<RuntimeEnv>,
    target_partitions: usize,
}

impl Sessions {
    pub fn new(segments: Arc<dyn ObjectStore>, target_partitions: usize) -> Result<Self, DataFusionError> {
        let registry = DefaultObjectStoreRegistry::new();
        // DataFusion's default can read every file of the machine.
        let _ = registry.deregister_store(ObjectStoreUrl::local_filesystem().as_ref());
        registry.register_store(segments_url().as_ref(), segments);
        // Spilling would let a query fill the disk that the journal needs.
        let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let environment = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(registry))
            .with_disk_manager_builder(no_disk)
            .with_metadata_cache_limit(METADATA_CACHE_BYTES)
            .build_arc()?;
        Ok(Self { environment, target_partitions })
    }

    /// A session without tables, and the schema to put them into.
    pub fn open(
        &self,
        memory: Arc<dyn MemoryPool>,
    ) -> Result<(SessionState, Arc<dyn SchemaProvider>), DataFusionError> {
        let environment =
            RuntimeEnvBuilder::from_runtime_env(&self.environment).with_memory_pool(memory).build_arc()?;
        let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, schema.clone())?;
        // No table factories and no file formats: CREATE EXTERNAL TABLE and COPY would find nothing to work with.
        let mut state = SessionStateBuilder::new()
            .with_config(self.config())
            .with_runtime_env(environment)
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(SessionStateDefaults::default_table_functions())
            .build();
        // One moment for every `now()` of the statement; without it `now()` cannot be planned.
        state.mark_start_execution();
        state.catalog_list().register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        Ok((state, schema))
    }

    /// A session for the part of a statement that another node has planned: it computes and plans nothing.
    #[cfg(feature = "distributed")]
    pub fn for_part(
        &self,
        builder: SessionStateBuilder,
        memory: Arc<dyn MemoryPool>,
    ) -> Result<SessionStateBuilder, DataFusionError> {
        let environment =
            RuntimeEnvBuilder::from_runtime_env(&self.environment).with_memory_pool(memory).build_arc()?;
        Ok(builder
            .with_runtime_env(environment)
            .with_scalar_functions(scalar_functions())
            .with_aggregate_functions(aggregate_functions()))
    }

    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.target_partitions)
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        options.sql_parser.collect_spans = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        config
    }
}

/// Has statements planned so that there is a place where they can be cut: with a single stream there would be no first half
/// of an aggregation, and streams that are dealt out row by row would lie across it.
pub(crate) fn plan_for_several(state: &mut SessionState) {
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = options.execution.target_partitions.max(2);
    options.optimizer.enable_round_robin_repartition = false;
    // The value of a subquery would be handed to filters through memory that other nodes do not share; as a join it is not.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
}

pub(crate) fn segments_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse(SEGMENTS_URL).expect("the address is a constant with a scheme and a host")
}

fn scalar_functions() -> Vec<Arc<datafusion::logical_expr::ScalarUDF>> {
    let left_out = |name: &str| SCALAR_FUNCTIONS_LEFT_OUT.contains(&name);
    let mut scalar_functions = SessionStateDefaults::default_scalar_functions();
    scalar_functions.retain(|function| !left_out(function.name()));
    scalar_functions.extend(functions::scalar());
    scalar_functions
}

fn aggregate_functions() -> Vec<Arc<datafusion::logical_expr::AggregateUDF>> {
    let mut aggregate_functions = SessionStateDefaults::default_aggregate_functions();
    aggregate_functions.extend(functions::aggregate());
    aggregate_functions
}

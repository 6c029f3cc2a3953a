//! One function a path and method. What changes anything takes a [`super::peer::Changer`] first.

pub mod connections;
pub mod labels;
pub mod limits;
pub mod policy;
pub mod pools;
pub mod routes;
pub mod state;
pub mod telemetry;

use super::error::ApiError;
use super::server::Shared;
use super::types::ChangeQuery;
use crate::daemon::{GovernError, Governor, Terms};
use std::sync::Arc;

/// Name of a document that came without one.
const UNNAMED: &str = "api";

impl ChangeQuery {
    fn terms(&self) -> Terms {
        Terms { base_generation: self.base_generation, dry_run: self.dry_run }
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Governor) -> Result<T, GovernError> + Send + 'static,
) -> Result<T, ApiError> {
    let governor = Arc::clone(&shared.governor);
    match tokio::task::spawn_blocking(move || work(&governor)).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(GovernError::Broken { what: error.to_string() }.into()),
    }
}

//! Another configuration, while the service runs.

use super::Pipeline;
use crate::api::Api;
use crate::config;
use std::sync::Arc;

impl Pipeline {
    /// From here on it is decided by this one; only ever between two turns. What is under way keeps what it began
    /// with: namespaces have the same numbers, and a body its bounds.
    pub fn switch(&mut self, api: Arc<Api>, http: &config::Http) {
        self.api = api;
        self.settings.pipeline_max = http.pipeline_max;
        self.settings.request_deadline_ms = u64::from(http.request_deadline_ms);
    }
}

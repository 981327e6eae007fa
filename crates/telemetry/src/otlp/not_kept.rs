//! What is read and has no store: whoever sends it is told.

use madang_wire::otlp::collector::logs::v1::ExportLogsServiceRequest;

use super::Partial;

pub(super) fn logs(export: &ExportLogsServiceRequest) -> Partial {
    let scopes = export.resource_logs.iter().flat_map(|of| &of.scope_logs);
    none_of(scopes.map(|scope| scope.log_records.len()).sum(), "log records that come by OTLP are not kept")
}

fn none_of(count: usize, why: &str) -> Partial {
    let mut partial = Partial::default();
    if count > 0 {
        partial.reject(count as u64, || why.to_owned());
    }
    partial
}

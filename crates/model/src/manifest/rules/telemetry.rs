//! What `[telemetry]` says is of one piece.

use crate::{
    ForwardProtocol,
    manifest::{
        error::{Code, Found, ManifestError},
        raw::RawSystem,
    },
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let Some(forward) = &raw.telemetry.forward else { return };
    let grpc = forward.protocol.as_ref().filter(|at| at.value == ForwardProtocol::Grpc);
    if let Some(grpc) = grpc
        && !forward.url.value.path.is_empty()
    {
        found.push(
            ManifestError::new(Code::CONTRADICTION, "a back end that is spoken to over gRPC has no path")
                .at(&forward.url.spot, "this one has")
                .also(&grpc.spot, "gRPC has paths of its own")
                .hint(format!("write url = \"{}\", or leave the protocol out", forward.url.value.server)),
        );
    }
}

//! Styles and scripts, from the program itself.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr;)*) => {
        &[$(Asset { name: $name, kind: $kind, content: include_str!(concat!("../assets/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "style.css": "text/css; charset=utf-8";
    "main.js": SCRIPT;
    "live.js": SCRIPT;
    "morph.js": SCRIPT;
    "keys.js": SCRIPT;
    "theme.js": SCRIPT;
    "dialog.js": SCRIPT;
    "time.js": SCRIPT;
    "logs.js": SCRIPT;
    "explorer.js": SCRIPT;
    "icon.svg": "image/svg+xml";
};

/// Serves one. The browser asks each time whether what it has is still the same, as another version of the program may
/// answer at this address.
pub(crate) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let digest = Sha256::digest(asset.content);
    let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.kind)], asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let ask = async |file: &str, known: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(known.map(|known| (header::IF_NONE_MATCH, known.parse().unwrap())));
            serve(Path(file.to_owned()), headers).await
        };
        let first = ask("style.css", None).await;
        assert_eq!(
            (first.status(), first.headers()["content-type"].to_str().unwrap()),
            (StatusCode::OK, "text/css; charset=utf-8")
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(ask("style.css", Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("style.css", Some("\"old\"")).await.status(), StatusCode::OK);
        assert_eq!(ask("../Cargo.toml", None).await.status(), StatusCode::NOT_FOUND);
    }
}

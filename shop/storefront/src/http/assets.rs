//! What the pages load: a stylesheet, a script of our own, an icon.

use madang::{
    Context, Path,
    axum::{
        http::header,
        response::{IntoResponse, Response},
    },
};

use crate::pages::Failed;

pub(super) async fn file(context: Context, Path(name): Path<String>) -> Result<Response, Failed> {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", include_str!("../../assets/style.css")),
        "shop.js" => ("text/javascript; charset=utf-8", include_str!("../../assets/shop.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../../assets/icon.svg")),
        _ => return Err(Failed::not_found(&context, "file of this name")),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        // Long enough for the pages of one visit, short enough for a release.
        (header::CACHE_CONTROL, "public, max-age=60"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, text).into_response())
}

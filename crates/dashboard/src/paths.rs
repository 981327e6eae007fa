//! Which paths of the listener are the dashboard's, and which of these anybody may see.

/// Whether a path is one of the API's, which the dashboard leaves alone.
fn is_api(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/") || path == "/openapi.json" || path == "/metrics"
}

/// Whether a path is seen without a session: where one logs in, and what that looks like.
pub fn is_open(path: &str) -> bool {
    path == "/login" || path == "/logout" || path.starts_with("/assets/")
}

/// Whether a path is a page that only a session may see.
pub fn is_page(path: &str) -> bool {
    !is_api(path) && !is_open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_of_one_kind() {
        for (path, open, page) in [
            ("/", false, true),
            ("/services/v1", false, true),
            ("/assets/style.css", true, false),
            ("/assets", false, true),
            ("/login", true, false),
            ("/login/x", false, true),
            ("/v1/system", false, false),
            ("/v1", false, false),
            ("/v12", false, true),
            ("/openapi.json", false, false),
            ("/metrics", false, false),
        ] {
            assert_eq!((is_open(path), is_page(path)), (open, page), "{path}");
        }
    }
}

//! The page on which one logs in.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, html};

use crate::headers;

/// The page, with why it is shown, if there is more to say than that nobody is logged in.
pub fn log_in(status: StatusCode, why: Option<&str>) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Log in – Madang" }
                link rel="icon" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                script type="module" src="/assets/theme.js" {}
            }
            body.alone {
                main {
                    h1 { "Madang" }
                    @if let Some(why) = why { p.notice.bad role="alert" { (why) } }
                    p { "In the folder of the system, this opens the dashboard and logs this browser in:" }
                    pre { code { "madang open" } }
                    form method="post" action="/login" {
                        label for="token" { "Or paste the token, which is the last part of the URL that it prints" }
                        input #token name="token" type="password" autocomplete="off" required;
                        button type="submit" { "Log in" }
                    }
                }
            }
        }
    };
    let mut response = (status, page).into_response();
    headers::add(&mut response);
    response
}

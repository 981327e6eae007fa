//! Forms that are not ours do nothing.

use madang::axum::http::{HeaderMap, StatusCode};
use madang_testkit::Client;

use crate::world::{browser, put, services, sign_in, start};

#[tokio::test]
async fn a_form_without_the_visitors_token_is_refused_and_does_nothing() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    let form = put(&mut browser, 1, 1).await.form("/shop/orders");
    for token in ["", "00112233445566778899aabbccddeeff"] {
        let page = browser.submit(&form.clone().with("token", token)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.html);
        assert!(page.has("nothing was done"), "{}", page.html);
    }
    let orders = app.get("orders", "/orders?after=1").await.json();
    assert_eq!(orders.as_array().map(Vec::len), Some(0));
}

/// A page from elsewhere can neither read the token nor set the cookie; and browsers say that it is from elsewhere.
#[tokio::test]
async fn a_form_from_another_site_is_refused() {
    let app = start(services()).await;
    let address = app.address("storefront");
    let token = "00112233445566778899aabbccddeeff";
    let post = async |site: Option<&str>, kind: &str| {
        let cookie = format!("shop_token={token}");
        let mut headers = vec![("cookie", cookie.as_str()), ("content-type", kind)];
        headers.extend(site.map(|site| ("sec-fetch-site", site)));
        let body = format!("token={token}&product=1&quantity=1");
        Client::new(address).send(http::Method::POST, "/shop/cart", &headers, body).await.unwrap().status
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(post(None, form).await, StatusCode::SEE_OTHER);
    assert_eq!(post(Some("same-origin"), form).await, StatusCode::SEE_OTHER);
    assert_eq!(post(Some("same-site"), form).await, StatusCode::FORBIDDEN);
    assert_eq!(post(Some("cross-site"), form).await, StatusCode::FORBIDDEN);
    assert_eq!(post(None, "text/plain").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn cookies_and_pages_are_closed_to_others() {
    let app = start(services()).await;
    let answer = app.get("storefront", "/").await;
    let header = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
    let cookie = header(&answer.headers, "set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let policy = header(&answer.headers, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(
        !answer.text().contains(" style=") && !answer.text().contains("<script>"),
        "the policy forbids both"
    );
    for file in ["style.css", "shop.js", "icon.svg"] {
        assert!(answer.text().contains(&format!("/shop/assets/{file}")), "{file}");
        let asset = app.get("storefront", &format!("/shop/assets/{file}")).await;
        assert_eq!(asset.status, StatusCode::OK, "{file}");
    }
}

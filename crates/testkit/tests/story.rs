//! The whole story in a browser: a service fails, the map shows it, and five clicks later the page names who is to blame.

mod login;
mod sabotaged;

use madang_testkit::Chromium;

use login::logged_in;
use sabotaged::Sabotaged;

const LIVE: &str = "document.getElementById('connection').textContent === 'live'";

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_followed_from_the_map_to_its_trace_its_lines_and_who_is_to_blame() {
    let system = Sabotaged::start().await;
    let browser = Chromium::start().await;
    let (page, url) = logged_in(&system.shop, &browser).await;
    page.until(LIVE).await;

    assert_eq!(system.ask("orders").await.0, 201);
    let way = "#edge-orders-users";
    page.until(&format!("document.querySelector('{way}.some:not(.bad) text')?.textContent.includes('/s')"))
        .await;

    system.spoil("users", "error");
    let (status, id) = system.ask("orders").await;
    assert!(status >= 500, "{status}");
    page.until(&format!("document.querySelector('{way}.bad text')?.textContent.includes('failed')")).await;
    page.picture("story-1-map").await;

    page.click(&format!("{way} .head")).await;
    page.loaded().await;
    assert_eq!(
        page.eval("location.pathname + location.search").await,
        "/traces?service=users&caller=orders&error=true"
    );
    page.picture("story-2-traces").await;
    page.click("tbody th a").await;
    page.loaded().await;
    page.until("document.querySelector('.waterfall rect.bad')").await;
    let trace = page.eval("location.pathname.split('/')[2]").await.as_str().unwrap().to_owned();
    assert!(
        page.text("#lines").await.contains("the disk cannot be written"),
        "{}",
        page.text("#lines").await
    );
    page.picture("story-3-trace").await;

    page.click("#logs").await;
    page.loaded().await;
    assert_eq!(page.text(".command code").await, format!("madang logs --trace {trace} -f"));
    page.until("document.getElementById('tail').rows.length > 0").await;
    let others = format!(
        "[...document.querySelectorAll('#tail tr')].filter((row) => !row.querySelector('a[title=\"{trace}\"]')).length"
    );
    assert_eq!(page.eval(&others).await, 0, "only lines of the trace");
    page.picture("story-4-logs").await;

    page.click("#tail tr.error .links a[href^='/why/']").await;
    page.loaded().await;
    assert_eq!(page.text(".command code").await, format!("madang why {trace}"));
    assert_eq!(page.text("#blame strong a").await, "users");
    assert!(page.text("#verdict .said").await.contains("users"), "{}", page.text("#verdict").await);
    assert!(page.text("#lines").await.contains("the disk cannot be written"));
    page.picture("story-5-why").await;

    // The id that a customer has leads there too.
    assert_eq!(page.open(&format!("{url}/why/{id}")).await, 200);
    assert_eq!(page.text("#blame strong a").await, "users");
    assert_eq!(page.errors().await, [""; 0]);
    assert_eq!(page.open(&format!("{url}/why/{}", "0".repeat(31) + "1")).await, 404);
}

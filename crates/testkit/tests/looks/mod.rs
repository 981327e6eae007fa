//! How a page looks, as far as a test can tell: pictures for people, and for the rest what the WCAG ask for.

use madang_testkit::Tab;
use serde_json::json;

/// How many controls are gone through at most.
const MOST_STEPS: u64 = 40;

/// The widths of a phone and of a desk.
const WIDTHS: [(u32, u32, &str); 2] = [(1280, 900, "desk"), (360, 740, "phone")];

/// Looks at the page that is open: by day and by night, at a desk and on a phone.
pub async fn check(page: &Tab, name: &str) {
    for (width, height, place) in WIDTHS {
        page.size(width, height).await;
        for scheme in ["light", "dark"] {
            page.prefer(scheme).await;
            page.picture(&format!("{name}-{place}-{scheme}")).await;
            assert_eq!(
                page.eval(CONTRAST).await,
                json!([]),
                "{name} {place} {scheme}: text and ground, of less than 4.5"
            );
        }
        let beside = page.eval("document.documentElement.scrollWidth - innerWidth").await;
        assert!(beside.as_i64().unwrap() <= 0, "{name} {place} is {beside} wider than the window");
    }
    page.size(1280, 900).await;
    page.prefer("light").await;
    assert_eq!(page.eval(UNNAMED).await, json!([]), "{name}: controls without a name");
    assert_eq!(page.eval(STRUCTURE).await, json!([]), "{name}: what readers of the page need");
    in_order(page, name).await;
}

/// Tab goes through what can be used in the order of the document, the first time to the content.
async fn in_order(page: &Tab, name: &str) {
    page.eval("document.activeElement.blur(); document.body.tabIndex = -1; document.body.focus()").await;
    let mut places = Vec::new();
    let all = page.eval(FOCUSABLE).await.as_u64().unwrap().min(MOST_STEPS);
    for step in 0..all {
        page.press("Tab").await;
        let now = page.eval(FOCUSED).await;
        if step == 0 {
            assert_eq!(now["text"], "Skip to the content", "{name}");
        }
        assert_eq!(now["visible"], true, "{name}: nobody sees where the focus is: {now}");
        places.push(now);
    }
    let orders: Vec<i64> =
        places.iter().filter_map(|place| place["at"].as_i64()).take_while(|at| *at >= 0).collect();
    assert!(orders.len() > 5 && orders.is_sorted(), "{name}: the focus jumps: {places:?}");
}

const FOCUSABLE: &str = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]\
    .filter((it) => it.checkVisibility() && it.tabIndex >= 0 && !it.disabled && !it.matches('[type=radio]:not(:checked)')).length";

const FOCUSED: &str = r"(() => {
    const it = document.activeElement;
    const style = getComputedStyle(it);
    const box = it.getBoundingClientRect();
    return {
        at: [...document.querySelectorAll('*')].indexOf(it), text: it.textContent.trim().slice(0, 40),
        visible: style.outlineStyle !== 'none' && box.width > 0 && box.height > 0,
    };
})()";

/// The contrast of each text that is shown with what is behind it (WCAG 2.2, 1.4.3).
const CONTRAST: &str = r"(() => {
    const parse = (color) => {
        const parts = color.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
        return { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const { rgb, alpha } = parse(getComputedStyle(at).backgroundColor);
            if (alpha === 1) return rgb;
        }
        return [255, 255, 255];
    };
    const bad = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || !element.checkVisibility() || element.closest('.hidden, .sr, option, title, [aria-hidden=true]')) continue;
        const style = getComputedStyle(element);
        const { rgb } = parse(element instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(rgb), light(ground(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.add(`${node.data.trim().slice(0, 30)} <${element.tagName} ${element.getAttribute('class')}> ${ratio.toFixed(2)}`);
    }
    return [...bad];
})()";

const UNNAMED: &str = r"[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
    .filter((it) => it.checkVisibility())
    .filter((it) => !(it.getAttribute('aria-label') || it.textContent.trim() && !it.matches('select, textarea') || it.labels?.length
        && [...it.labels].some((label) => label.textContent.trim())))
    .map((it) => it.outerHTML.slice(0, 120))";

const STRUCTURE: &str = r"(() => {
    const wrong = [];
    if (!document.documentElement.lang) wrong.push('no language');
    if (!document.title) wrong.push('no title');
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one first heading');
    if (document.querySelectorAll('main').length !== 1) wrong.push('not one main part');
    const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);
    const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
    if (twice.length) wrong.push(`ids twice: ${twice}`);
    for (const table of document.querySelectorAll('table')) {
        if (!table.caption?.textContent || !table.querySelector('thead th[scope=col]')) wrong.push(`table: ${table.outerHTML.slice(0, 100)}`);
    }
    if (document.querySelector('[style], script:not([src]), style')) wrong.push('style or script inline');
    return wrong;
})()";

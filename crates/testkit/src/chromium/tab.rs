//! One page: what a user does there, and what the test looks at.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep, timeout},
};

use super::{Wire, pictures};
use crate::PATIENCE;

/// A page of a [`super::Chromium`].
pub struct Tab {
    wire: Arc<Wire>,
    session: String,
    happened: Mutex<mpsc::UnboundedReceiver<Value>>,
    /// What went wrong so far.
    errors: Mutex<Vec<String>>,
}

// === impl Tab ===

impl Tab {
    pub(super) async fn new(
        wire: Arc<Wire>,
        session: String,
        happened: mpsc::UnboundedReceiver<Value>,
    ) -> Self {
        let page = Self { wire, session, happened: Mutex::new(happened), errors: Mutex::default() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.ask(&format!("{domain}.enable"), json!({})).await;
        }
        page.size(1280, 900).await;
        page
    }

    async fn ask(&self, method: &str, options: Value) -> Value {
        self.wire.ask(Some(&self.session), method, options).await
    }

    /// Makes the window this large.
    pub async fn size(&self, width: u32, height: u32) {
        let options = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", options).await;
    }

    /// Has it open what any certificate is shown for: who signs them is for other tests.
    pub async fn believe_anybody(&self) {
        self.ask("Security.setIgnoreCertificateErrors", json!({"ignore": true})).await;
    }

    /// Has the system prefer a dark or a light look.
    pub async fn prefer(&self, scheme: &str) {
        let options = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", options).await;
    }

    /// Opens a URL and waits until it is loaded. Gives the status that was answered.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open(&self, url: &str) -> u16 {
        self.look_back().await;
        let opened = self.ask("Page.navigate", json!({"url": url})).await;
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        self.loaded().await
    }

    /// Waits for the page that a click leads to.
    ///
    /// # Panics
    /// If none comes.
    pub async fn loaded(&self) -> u16 {
        let mut status = 0;
        let waits = async {
            let mut happened = self.happened.lock().await;
            while let Some(event) = happened.recv().await {
                self.note(&event).await;
                let params = &event["params"];
                if event["method"] == "Network.responseReceived" && params["type"] == "Document" {
                    status = params["response"]["status"].as_u64().unwrap_or(0);
                }
                if event["method"] == "Page.loadEventFired" {
                    return;
                }
            }
        };
        timeout(PATIENCE, waits).await.expect("the page loads");
        status.try_into().unwrap_or(0)
    }

    /// The value of an expression of JavaScript, a promise's once it is there.
    ///
    /// # Panics
    /// If it throws.
    pub async fn eval(&self, expression: &str) -> Value {
        let options = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", options).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.textContent ?? ''")).await;
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// If it never is.
    pub async fn until(&self, expression: &str) {
        let began = Instant::now();
        loop {
            if self.eval(&format!("Boolean({expression})")).await == true {
                return;
            }
            if began.elapsed() > PATIENCE {
                self.picture("failed").await;
                let url = self.eval("location.href").await;
                panic!("never in {url}: {expression}\n{}", self.eval("document.body.innerText").await);
            }
            // Looked at again rather than told, as a user would.
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks the middle of the first element that a selector finds, as a mouse does.
    ///
    /// # Panics
    /// If there is none, or something else is in front of it.
    pub async fn click(&self, selector: &str) {
        self.until(&format!("document.querySelector({selector:?})")).await;
        let place = self
            .eval(&format!(
                "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{block: 'center'}}); \
                 const box = it.getClientRects()[0]; const x = box.x + box.width / 2, y = box.y + box.height / 2; \
                 const top = document.elementFromPoint(x, y); \
                 return it.contains(top) || top?.contains(it) ? {{x, y}} : {{in_front: top?.outerHTML?.slice(0, 200) ?? 'nothing'}} }})()"
            ))
            .await;
        assert!(place["in_front"].is_null(), "{selector} is behind {}", place["in_front"]);
        for kind in ["mousePressed", "mouseReleased"] {
            let options =
                json!({"type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1});
            self.ask("Input.dispatchMouseEvent", options).await;
        }
    }

    /// Clicks into a field and writes a text there, in the place of what is in it.
    ///
    /// # Panics
    /// If there is no such field.
    pub async fn write(&self, selector: &str, text: &str) {
        self.click(selector).await;
        self.eval(&format!("document.querySelector({selector:?}).select()")).await;
        self.ask("Input.insertText", json!({"text": text})).await;
    }

    /// Has the page's scripts not run, as of whoever turned them off; tests can still look at it.
    pub async fn without_scripts(&self) {
        self.ask("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// Presses a key, such as `Tab`, `Enter` or a letter.
    pub async fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        self.ask(
            "Input.dispatchKeyEvent",
            json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code}),
        )
        .await;
        self.ask(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}),
        )
        .await;
    }

    /// Leaves a picture of the whole page under `target/pictures`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn picture(&self, name: &str) {
        let taken = self.ask("Page.captureScreenshot", json!({"format": "png"})).await;
        let png = base64(taken["data"].as_str().expect("a picture"));
        let folder = pictures();
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(format!("{name}.png")), png))
            .expect("a picture");
    }

    /// What went wrong in the page so far: errors of scripts and on the console, what its policy refused.
    pub async fn errors(&self) -> Vec<String> {
        // What was said before the question is read before its answer.
        self.eval("0").await;
        self.look_back().await;
        std::mem::take(&mut *self.errors.lock().await)
    }

    async fn look_back(&self) {
        let mut happened = self.happened.lock().await;
        while let Ok(event) = happened.try_recv() {
            self.note(&event).await;
        }
    }

    async fn note(&self, event: &Value) {
        let params = &event["params"];
        let wrong = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                Some(format!("{} {}", params["entry"]["text"], params["entry"]["url"]))
            }
            _ => None,
        };
        self.errors.lock().await.extend(wrong);
    }
}

/// The bytes of base64 (RFC 4648, section 4).
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for six in text.bytes().filter_map(value) {
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_as_base64() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")]
        {
            assert_eq!(base64(text), bytes.as_bytes());
        }
    }
}

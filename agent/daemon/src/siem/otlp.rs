//! A collector of OpenTelemetry: logs over HTTP, in the JSON form of OTLP 1.x.

mod encode;

use std::sync::Arc;
use std::time::Duration;

use hostward_config::{Backend, Otlp as Settings};
use hostward_events::Record;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::output::{Handed, OutputError};
use crate::backend::{Exchange, Fault, Http};

/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(60);
/// The credential of systemd.exec(5) that holds headers for the collector, one a line.
const CREDENTIAL: &str = "otlp-headers";

pub struct Otlp {
    settings: Settings,
    http: Arc<Http>,
}

/// What a collector may say of a request that it took in part.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: PartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    /// A number, or a number as text.
    rejected_log_records: serde_json::Value,
    error_message: String,
}

impl Otlp {
    pub fn new(settings: Settings) -> Self {
        let backend = Backend { ca_file: settings.ca_file.clone(), proxy: None };
        let is_plain = settings.url.as_str().starts_with("http:");
        let http = if is_plain { Http::to_this_host(backend) } else { Http::new(backend) };
        Otlp { settings, http: Arc::new(http) }
    }

    pub async fn hand_over(&mut self, lines: &[Vec<u8>]) -> Result<Handed, OutputError> {
        let records: Vec<(Record, &[u8])> =
            lines.iter().filter_map(|line| Some((Record::read(line)?, line.as_slice()))).collect();
        let unreadable = lines.len() - records.len();
        let url = Url::parse(self.settings.url.as_str()).map_err(|error| {
            OutputError::Http(Fault::NotApi {
                url: self.settings.url.as_str().into(),
                message: error.to_string(),
            })
        })?;
        let mut exchange = Exchange::get(url.clone(), MAX_ANSWER);
        exchange.method = Method::POST;
        exchange.patience = PATIENCE;
        exchange.headers = credentials();
        exchange.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        exchange.body = Some(encode::request(&records));
        let answer = self.http.exchange(exchange).await.map_err(OutputError::Http)?;
        match answer.status {
            status if status.is_success() => {
                let said: Answer = serde_json::from_slice(&answer.body).unwrap_or_default();
                let refused = said.partial_success.rejected();
                if refused > 0 {
                    let why: String = said
                        .partial_success
                        .error_message
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(300)
                        .collect();
                    log::warn!("the collector refused {refused} events: {why}");
                }
                let refused = refused.min(records.len()) + unreadable;
                Ok(Handed { count: lines.len(), refused, rest: Duration::ZERO })
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(OutputError::Smaller)
            }
            _ => Err(OutputError::Http(Fault::refused(&url, &answer, chrono::Utc::now()))),
        }
    }
}

impl PartialSuccess {
    fn rejected(&self) -> usize {
        let number = match &self.rejected_log_records {
            serde_json::Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        };
        number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    }
}

/// Headers that prove who this is. They are secrets: they are in no configuration that others can read.
fn credentials() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return headers;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&dir).join(CREDENTIAL)).unwrap_or_default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let value = HeaderValue::from_str(value.trim());
        match (name, value) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => log::warn!("a line of the credential `{CREDENTIAL}` is no header"),
        }
    }
    headers
}

//! Every request that there is an answer to.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::answer::{Refused, json};
use super::{events, hosts, repository, ssh};
use crate::backend::Backend;

/// A method and path of the API.
pub struct Route {
    /// `GET`, …
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    operation: Operation,
}

enum Operation {
    Health,
    Enroll,
    Describe,
    Leave,
    Report,
    Deliver,
    EventHead,
    FindHosts,
    ServiceCertificate,
    HostCertificates,
    Timestamp,
    Metadata,
    Target,
}

/// The API as a table; the router has nothing else.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/v1/health", operation: Operation::Health },
    Route { method: "POST", path: "/v1/enroll", operation: Operation::Enroll },
    Route { method: "PUT", path: "/v1/hosts/self", operation: Operation::Describe },
    Route { method: "DELETE", path: "/v1/hosts/self", operation: Operation::Leave },
    Route { method: "POST", path: "/v1/hosts/self/report", operation: Operation::Report },
    Route { method: "POST", path: "/v1/events", operation: Operation::Deliver },
    Route { method: "GET", path: "/v1/hosts/self/events/head", operation: Operation::EventHead },
    Route { method: "GET", path: "/v1/hosts", operation: Operation::FindHosts },
    Route { method: "POST", path: "/v1/ssh/service-certificates", operation: Operation::ServiceCertificate },
    Route { method: "POST", path: "/v1/ssh/host-certificates", operation: Operation::HostCertificates },
    Route {
        method: "GET",
        path: "/v1/projects/{project}/tuf/timestamp.json",
        operation: Operation::Timestamp,
    },
    Route { method: "GET", path: "/v1/projects/{project}/tuf/{metadata}", operation: Operation::Metadata },
    Route {
        method: "GET",
        path: "/v1/projects/{project}/tuf/targets/{target}",
        operation: Operation::Target,
    },
];

pub(super) fn router(backend: Arc<Backend>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, handler(&route.operation));
    }
    router
        .fallback(async || Refused::plain(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            let detail = "the resource does not take this method";
            Refused::plain(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .with_state(backend)
}

fn handler(operation: &Operation) -> MethodRouter<Arc<Backend>> {
    match operation {
        Operation::Health => get(async || json(&serde_json::json!({ "status": "ok" }))),
        Operation::Enroll => post(hosts::enroll),
        Operation::Describe => put(hosts::describe),
        Operation::Leave => delete(hosts::leave),
        Operation::Report => post(hosts::report),
        Operation::Deliver => post(events::deliver),
        Operation::EventHead => get(events::head),
        Operation::FindHosts => get(ssh::find_hosts),
        Operation::ServiceCertificate => post(ssh::service_certificate),
        Operation::HostCertificates => post(ssh::host_certificates),
        Operation::Timestamp => get(repository::timestamp),
        Operation::Metadata => get(repository::metadata),
        Operation::Target => get(repository::target),
    }
}

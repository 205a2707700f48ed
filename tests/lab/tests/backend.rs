//! The mock backend as the lab runs it.

use hostward_lab::{Lab, Release};

const TEAM: &str = "[project]\nid = \"acme\"\n\n[users.alice]\nuid = 70001\n";

#[test]
fn it_serves_hosts_by_name_and_keeps_its_state_over_a_stop() {
    let lab = Lab::new().expect("a lab");
    let mut backend = lab.backend(TEAM).expect("a backend");
    assert!(backend.token().trim().len() > 40);
    assert!(backend.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let host = lab.host("web1", Release::Bookworm).boot().expect("a host");
    host.write("/root/ca.pem", 0o644, "root:root", backend.ca_pem());
    let fetch = "python3 -c 'import ssl, socket; \
        c = ssl.create_default_context(cafile=\"/root/ca.pem\"); \
        s = c.wrap_socket(socket.create_connection((\"backend.test\", 8443)), server_hostname=\"backend.test\"); \
        s.sendall(b\"GET /nothing HTTP/1.0\\r\\nHost: backend.test\\r\\n\\r\\n\"); print(s.recv(12))'";
    assert!(host.ok(fetch).contains("HTTP/1"));
    let roots = backend.ok(&["root"]);
    backend.stop();
    assert!(!host.run(fetch).success());
    assert!(!backend.run(&["root"]).success());
    backend.start();
    assert_eq!(backend.ok(&["root"]), roots);
    assert!(host.ok(fetch).contains("HTTP/1"));
}

#[test]
fn a_changed_team_is_published() {
    let lab = Lab::new().expect("a lab");
    let backend = lab.backend(TEAM).expect("a backend");
    backend.change("70001", "70002");
    assert!(backend.ok(&["policy", "--documents"]).contains("70002"));
}

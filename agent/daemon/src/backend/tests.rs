use super::*;

#[test]
fn only_https_is_spoken() {
    let ok = |text| base_url(text).unwrap().to_string();
    assert_eq!(ok("https://b.example"), "https://b.example/");
    assert_eq!(ok("https://b.example:8443/api?x#y"), "https://b.example:8443/api/");
    assert!(matches!(base_url("http://b.example"), Err(UrlError::NotHttps(_))));
    assert!(matches!(base_url("file:///etc/shadow"), Err(UrlError::NotHttps(_))));
    assert!(matches!(base_url("b.example"), Err(UrlError::Malformed(_))));
    assert!(matches!(base_url("https://u:p@b.example"), Err(UrlError::Credentials)));
}

#[test]
fn repositories_are_absolute_or_below_the_backend() {
    let base = base_url("https://b.example/api").unwrap();
    let ok = |text| repository_url(&base, text).unwrap().to_string();
    assert_eq!(ok("tuf/p/"), "https://b.example/api/tuf/p/");
    assert_eq!(ok("/tuf/p"), "https://b.example/tuf/p/");
    assert_eq!(ok("https://cdn.example/p/"), "https://cdn.example/p/");
    assert!(repository_url(&base, "http://cdn.example/p/").is_err());
    assert!(repository_url(&base, "//u@cdn.example/p/").is_err());
}

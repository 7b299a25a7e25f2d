//! Blue and green behind nginx, httpd, HAProxy and Varnish.

use std::path::Path;

use crate::backends::{Backend, assert_health, send_traffic};
use crate::harness::{Shipwake, free_ports, start_with};
use crate::process::{Process, is_root, listens};
use crate::sender::Sender;

/// A Shipwake that takes syslog and knows which version is behind which name.
async fn start(folder: &Path, syslog_udp: u16, upstreams: &[(&str, &str)]) -> Shipwake {
    let tables: String = upstreams
        .iter()
        .map(|(name, version)| format!("[[lines.upstreams]]\nname = \"{name}\"\nversion = \"{version}\"\n"))
        .collect();
    let file = folder.join("shipwake.toml");
    std::fs::write(&file, tables).expect("written");
    let (file, udp) = (file.to_str().expect("text").to_owned(), format!("127.0.0.1:{syslog_udp}"));
    let options = ["--config", &file, "--syslog-udp", &udp, "--syslog-apps", "nginx=by-syslog@,haproxy=edge@"];
    start_with(&folder.join("data"), &options).await
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn nginx_by_its_file_and_by_syslog() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port, udp, _] = free_ports();
    let (blue, green) = (Backend::start().await, Backend::start().await);
    let (blue_address, green_address) = (format!("127.0.0.1:{}", blue.port), format!("127.0.0.1:{}", green.port));
    let shipwake = start(folder.path(), udp, &[(&blue_address, "1.41.0"), (&green_address, "1.42.0")]).await;
    let dir = folder.path().display();
    let config = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
         events {{ }}
         http {{
           log_format timed '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent '
                            '\"$http_referer\" \"$http_user_agent\" $request_time $upstream_addr';
           access_log {dir}/access.log timed;
           access_log syslog:server=127.0.0.1:{udp},tag=nginx timed;
           client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
           uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
           upstream shop {{ server {blue_address}; server {green_address}; }}
           server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://shop; }} }}
         }}"
    );
    let config = write(folder.path(), "nginx.conf", &config);
    let access = folder.path().join("access.log");
    let options = ["--service", "by-file", "--format", "nginx"];
    let tail = Sender::tail_of(&shipwake.http(), &folder.path().join("state"), &[&access], &options);
    let nginx = Process::start("nginx", &["-c", &config, "-p", &dir.to_string(), "-e", &format!("{dir}/early.log")]);
    listens(port).await;
    send_traffic(port).await;
    assert_eq!(blue.counts().0 + green.counts().0, 200);
    assert!(blue.counts().0 > 50 && green.counts().0 > 50, "both were asked");
    let expected = [("1.41.0", blue.counts()), ("1.42.0", green.counts())];
    assert_health(&shipwake, "by-file", &expected).await;
    assert_health(&shipwake, "by-syslog", &expected).await;
    drop((nginx, tail));
}

#[tokio::test]
async fn haproxy_by_syslog() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port, udp, _] = free_ports();
    let (blue, green) = (Backend::start().await, Backend::start().await);
    let shipwake = start(folder.path(), udp, &[("shop/blue", "1.41.0"), ("shop/green", "1.42.0")]).await;
    let config = format!(
        "global\n  log 127.0.0.1:{udp} local0\ndefaults\n  mode http\n  log global\n  option httplog\n  option dontlognull\n  timeout connect 5s\n  \
         timeout client 30s\n  timeout server 30s\nfrontend web\n  bind 127.0.0.1:{port}\n  default_backend shop\n\
         backend shop\n  server blue 127.0.0.1:{}\n  server green 127.0.0.1:{}\n",
        blue.port, green.port
    );
    let config = write(folder.path(), "haproxy.cfg", &config);
    let haproxy = Process::start("haproxy", &["-db", "-q", "-f", &config]);
    listens(port).await;
    send_traffic(port).await;
    assert!(blue.counts().0 > 50 && green.counts().0 > 50, "both were asked");
    assert_health(&shipwake, "edge", &[("1.41.0", blue.counts()), ("1.42.0", green.counts())]).await;
    drop(haproxy);
}

#[tokio::test]
async fn httpd_into_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port, udp, _] = free_ports();
    let blue = Backend::start().await;
    let shipwake = start(folder.path(), udp, &[]).await;
    let dir = folder.path().display();
    let pipe = format!(
        "{} pipe --endpoint {} --service httpd --version 1.41.0 --format httpd",
        env!("CARGO_BIN_EXE_shipwake"),
        shipwake.http()
    );
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .iter()
        .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"))
        .collect();
    let config = format!(
        "{modules}ServerRoot {dir}\nServerName localhost\nPidFile {dir}/httpd.pid\nDefaultRuntimeDir {dir}\nErrorLog {dir}/error.log\n{user}\
         Listen 127.0.0.1:{port}\n\
         LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O \\\"%{{Referer}}i\\\" \\\"%{{User-Agent}}i\\\" %D\" timed\n\
         CustomLog \"|{pipe}\" timed\nProxyPass / http://127.0.0.1:{}/\n",
        blue.port
    );
    let config = write(folder.path(), "httpd.conf", &config);
    let httpd = Process::start("apache2", &["-f", &config, "-DFOREGROUND"]);
    listens(port).await;
    send_traffic(port).await;
    assert_eq!(blue.counts(), (200, 20));
    assert_health(&shipwake, "httpd", &[("1.41.0", blue.counts())]).await;
    drop(httpd);
}

#[tokio::test]
async fn varnish_into_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port, udp, _] = free_ports();
    let blue = Backend::start().await;
    let shipwake = start(folder.path(), udp, &[]).await;
    let name = folder.path().join("varnish").to_str().expect("text").to_owned();
    let vcl = format!(
        "vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{}\"; }}\nsub vcl_recv {{ return (pass); }}\n",
        blue.port
    );
    let vcl = write(folder.path(), "default.vcl", &vcl);
    let listen = format!("127.0.0.1:{port}");
    let varnish = Process::start(
        "varnishd",
        &["-F", "-j", "none", "-n", &name, "-f", &vcl, "-a", &listen, "-T", "none", "-p", "vsl_space=16M"],
    );
    listens(port).await;
    send_traffic(port).await;
    assert_eq!(blue.counts(), (200, 20));
    // What is in the shared log by now, and then the end.
    let format = "%h %l %u %t \"%r\" %s %b \"%{Referer}i\" \"%{User-agent}i\" %D";
    let (varnishncsa, lines) = Process::start_piped("varnishncsa", &["-n", &name, "-d", "-F", format]);
    let options = ["--service", "varnish", "--version", "1.41.0", "--format", "varnish"];
    let mut pipe = Sender::pipe_of(&shipwake.http(), lines.into(), &options);
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    assert_health(&shipwake, "varnish", &[("1.41.0", blue.counts())]).await;
    drop((varnishncsa, varnish));
}

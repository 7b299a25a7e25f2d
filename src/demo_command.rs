//! `shipwake demo`: the server in a temporary folder and, as a separate client task, the simulated shop that sends to its
//! real ports. Ctrl-C stops both and removes the folder. With `--send-to` there is only the shop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App};
use crate::cli::DemoArgs;
use crate::config::{self, Config};
use crate::demo::{self, RolloutTool};
use crate::roles;

/// Runs until Ctrl-C, SIGTERM, or the end of `--duration`.
///
/// # Errors
/// When a port is taken, the folder cannot be made, or the shop's options make no sense.
pub fn run(mut args: DemoArgs) -> anyhow::Result<()> {
    if args.script.list {
        print!("{}", demo::list());
        return Ok(());
    }
    // An unknown scenario is said before anything is started.
    demo::describe(&args.script)?;
    if let Some(send_to) = &args.send_to {
        let urls = roles::base_urls(send_to).map_err(|problem| anyhow!("send-to: {problem}"))?;
        return app::runtime()?.block_on(run_shop(urls, args.script));
    }
    // Somebody who exports SHIPWAKE_DATA for `serve` does not want the shop in real data: only the option counts here.
    if !std::env::args().any(|argument| argument == "--data" || argument.starts_with("--data=")) {
        args.options.data = None;
    }
    let folder = match &args.options.data {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new().prefix("shipwake-demo-").tempdir().context("failed to make a temporary folder")?,
        ),
    };
    if let Some(folder) = &folder {
        args.options.data = Some(folder.path().to_owned());
    }
    if args.options.data.as_deref().is_some_and(has_data) {
        // What it did there before is its past; one beside it would be counted on top.
        args.script.past.get_or_insert(Duration::ZERO);
    }
    // Read when the server starts, and gone with the demo.
    let mut kpis = tempfile::Builder::new().prefix("shipwake-demo-kpis-").suffix(".yaml").tempfile()?;
    kpis.write_all(demo::KPIS_YAML.as_bytes()).context("failed to write the shop's KPIs")?;
    args.options.kpis.get_or_insert_with(|| kpis.path().to_owned());
    // Their files are gone with the demo, too.
    let files =
        tempfile::Builder::new().prefix("shipwake-demo-rollout-").tempdir().context("failed to make a folder")?;
    let tool = open_tool(&mut args, files.path())?;
    // The page is the point of the demo: warnings are enough on the terminal.
    args.options.log.get_or_insert_with(|| "warn".to_owned());
    args.options.kafka_password = config::kafka_password();
    args.options.hook_secret_github = config::hook_secret_github();
    let mut config = Config::load(&args.options, None)?;
    config.settle_s = Some(demo::settle_s(&args.script));
    app::runtime()?.block_on(run_demo(config, args.script, tool))
}

fn has_data(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The rollout tool of a story that has one, and the files by which Shipwake tells it; nothing where somebody is told already.
fn open_tool(args: &mut DemoArgs, files: &Path) -> anyhow::Result<Option<RolloutTool>> {
    let policies = demo::policies_yaml(&args.script)?;
    if !demo::has_rollout_tool(&args.script)? || args.options.alerts.is_some() {
        return Ok(None);
    }
    if !policies.is_empty() && args.options.policies.is_none() {
        let path = files.join("policies.yaml");
        std::fs::write(&path, policies).context("failed to write the story's policies")?;
        args.options.policies = Some(path);
    }
    let tool = RolloutTool::open()?;
    let pages = args.options.ui_addr.filter(|address| address.port() != 0);
    let pages = pages.map_or_else(|| "http://127.0.0.1:4400".to_owned(), |address| format!("http://{address}"));
    args.options.alerts = Some(tool.write_receivers(files, &pages)?);
    Ok(Some(tool))
}

/// The shop alone; the ports of a process take both protocols.
async fn run_shop(urls: Vec<String>, script: demo::Args) -> anyhow::Result<()> {
    if urls.is_empty() {
        bail!("send-to names nobody");
    }
    let shutdown = CancellationToken::new();
    app::cancel_on_signal(&shutdown)?;
    let story = demo::describe(&script)?;
    let endpoints = urls.into_iter().map(|url| demo::Endpoints { otlp_grpc: url.clone(), otlp_http: url }).collect();
    let shop = demo::Opened::open(script, endpoints, &shutdown).await?;
    println!("\n  {}\n", story.trim().replace('\n', "\n  "));
    shop.play(None, shutdown).await
}

async fn run_demo(config: Config, script: demo::Args, tool: Option<RolloutTool>) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    app::cancel_on_signal(&shutdown)?;
    let app = App::start(config, shutdown.clone()).await?;
    let addresses = app.addresses();
    let url = |address: Option<SocketAddr>| {
        address.map(|address| format!("http://{address}")).context("the demo needs all roles")
    };
    let endpoints = demo::Endpoints { otlp_grpc: url(addresses.otlp_grpc)?, otlp_http: url(addresses.otlp_http)? };
    let decisions = tool.map(RolloutTool::start).transpose()?;
    // The shop ends by itself at a shutdown or after `--duration`, and takes its last answers before it does.
    let (url, stop) = (format!("http://{}", addresses.ui), shutdown.clone());
    let shop = tokio::spawn(async move {
        let opened = demo::Opened::open(script.clone(), vec![endpoints], &stop).await?;
        say_what_to_look_at(&url, &script)?;
        opened.play(decisions, stop).await
    });
    let outcome = shop.await.context("the shop panicked")?;
    shutdown.cancel();
    let stopped = app.stop().await;
    println!("  Stopped.");
    outcome.and(stopped)
}

fn say_what_to_look_at(url: &str, script: &demo::Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n  Shipwake   {url}\n")?;
    writeln!(out, "  {}\n", demo::describe(script)?.trim().replace('\n', "\n  "))?;
    let program = std::env::current_exe().map_or_else(|_| "shipwake".to_owned(), |path| path.display().to_string());
    let sql =
        "select service, version, sum(requests) as requests from release_health where resolution_s = 60 group by 1, 2";
    writeln!(out, "  Ask it:    {program} query --url {url} \\")?;
    writeln!(out, "             '{sql}'")?;
    writeln!(out, "  Stop:      Ctrl-C\n")?;
    out.flush()?;
    Ok(())
}

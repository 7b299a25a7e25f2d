//! The `shipwake` binary: reads the command line and hands over. The only place that knows every stage is `app.rs`.

mod alerts_command;
mod app;
mod cli;
mod config;
mod data_folder;
mod demo;
mod demo_command;
mod doctor;
mod elsewhere;
mod gate_command;
mod gates;
mod health;
mod journal;
mod kpis;
mod late;
mod load;
mod logs_command;
mod mark;
mod memory;
mod metrics;
mod notification_records;
mod peers;
mod pipe;
mod pipeline;
mod policies_command;
mod query_command;
mod reader;
mod replay;
mod retention;
mod roles;
mod send;
mod tail;
mod telemetry;
mod verdict_records;
mod verdicts;
mod visible;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, ConfigCommand, ServeArgs};
use crate::config::Config;

fn main() -> ExitCode {
    memory::give_back_soon();
    let cli = Cli::try_parse().unwrap_or_else(|error| gate_command::refuse(&error));
    match run(cli.command) {
        Ok(code) => code,
        // Whoever read our output has had enough, like `head`.
        Err(error) if is_closed_output(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes on one line: what was being done, then why it failed.
            eprintln!("shipwake: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn is_closed_output(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => app::serve(load_config(&args)?).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo_command::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Query(args) => query_command::run(&args),
        Command::Logs(args) => logs_command::run(&args),
        Command::Gate(args) => Ok(gate_command::run(&args)),
        Command::Pipe(args) => pipe::run(&args),
        Command::Tail(args) => tail::run(*args),
        Command::Mark(args) => mark::run(&args),
        Command::Load(args) => load::run(*args),
        Command::Config(ConfigCommand::Check(args)) => {
            load_config(&args)?;
            println!("the configuration is valid");
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::Print(args)) => {
            print!("{}", toml::to_string(&load_config(&args)?)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Alerts(command) => alerts_command::run(command),
        Command::Policies(command) => policies_command::run(command),
        Command::Verdict(command) => Ok(replay::run(&command)),
        Command::Doctor(args) => Ok(doctor::run(&args)),
        Command::Version => {
            println!("shipwake {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load_config(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut options = args.options.clone();
    options.kafka_password = config::kafka_password();
    options.hook_secret_github = config::hook_secret_github();
    Ok(Config::load(&options, args.config.as_deref())?)
}

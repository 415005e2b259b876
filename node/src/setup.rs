//! `palisade configure` and `palisade config`: a commented file for this machine, and what one means.

use crate::config::{self, Config, KEYS, Machine, Source};
use crate::logging::FILTER;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What `palisade configure` is told. What is not given is asked for at a terminal, and found out elsewhere.
#[derive(Debug, Default, clap::Args)]
pub struct Answers {
    /// The node's name in the cluster [default: the host name, found out at each start]
    #[arg(long)]
    name: Option<String>,
    /// The name or address by which others reach this node [default: found out at each start]
    #[arg(long)]
    advertise: Option<String>,
    /// Where the node keeps everything
    #[arg(long)]
    data_dir: Option<String>,
    /// Address and port for other nodes
    #[arg(long)]
    cluster_listen: Option<String>,
    /// Address and port of the HTTPS API
    #[arg(long)]
    web_listen: Option<String>,
    /// Address and port for SSH
    #[arg(long)]
    ssh_listen: Option<String>,
    /// How log lines are written: text or json
    #[arg(long)]
    log: Option<String>,
    /// The file to write; - prints it
    #[arg(long, default_value = "/etc/palisade/palisade.yaml")]
    out: PathBuf,
    /// Ask nothing, and replace a file that is there
    #[arg(long, short)]
    yes: bool,
}

/// Writes a configuration for this machine; answers what to say.
pub fn configure(answers: &Answers) -> Result<String, String> {
    let printed = answers.out == Path::new("-");
    if !printed && !answers.yes && answers.out.exists() {
        return Err(format!(
            "{} is there already, and was not touched: --yes replaces it, --out FILE writes another, --out - prints",
            answers.out.display()
        ));
    }
    let machine = Machine::look();
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    for (key, given) in [
        ("name", &answers.name),
        ("advertise", &answers.advertise),
        ("data_dir", &answers.data_dir),
        ("cluster_listen", &answers.cluster_listen),
        ("web_listen", &answers.web_listen),
        ("ssh_listen", &answers.ssh_listen),
        ("log", &answers.log),
    ] {
        if let Some(value) = given {
            values.insert(key, value.clone());
        }
    }
    if !answers.yes && !printed && std::io::stdin().is_terminal() {
        let found = Config::parse("", &machine);
        let usual = |key: &str| match (&found, key) {
            (Ok(config), _) => config
                .effective
                .iter()
                .find(|e| e.key == key)
                .map(|e| e.value.clone()),
            (Err(_), _) => None,
        };
        let asked = [
            ("name", "The node's name in the cluster", usual("name")),
            ("advertise", "Others reach this node at", usual("advertise")),
            ("data_dir", "It keeps everything in", usual("data_dir")),
        ];
        let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
        for (key, question, usual) in asked {
            if !values.contains_key(key)
                && let Some(answer) = ask(
                    &mut stdin.lock(),
                    &mut stderr,
                    question,
                    &usual.unwrap_or_default(),
                )
            {
                values.insert(key, answer);
            }
        }
    }
    let text = config::file(&values);
    let config = Config::parse(&text, &machine).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(|f| format!("\n  {f}")).collect();
        format!(
            "this would not be a configuration, and nothing was written:{}",
            faults.concat()
        )
    })?;
    if printed {
        return Ok(text);
    }
    write(&answers.out, &text).map_err(|e| format!("{}: {e}", answers.out.display()))?;
    Ok(format!(
        "{} was written: node {} at {}, data in {}.\nNext: start the node, then `palctl cluster init` on the first and `palctl cluster join` on the others.\n",
        answers.out.display(),
        config.name,
        config.advertise,
        config.data_dir.display()
    ))
}

/// One question; nothing if the usual answer is right.
fn ask(from: &mut impl BufRead, to: &mut impl Write, question: &str, usual: &str) -> Option<String> {
    let _ = write!(to, "{question} [{usual}]: ");
    let _ = to.flush();
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty() && line != usual).then(|| line.to_owned())
}

/// All of it or nothing: a node may be told to read it at any moment.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// `palisade config show`: every value in force, and where it comes from.
pub fn show(path: &Path, json: bool) -> Result<String, String> {
    let config = Config::load(path).map_err(|e| e.to_string())?;
    if json {
        let text = serde_json::to_string_pretty(&config.effective).map_err(|e| e.to_string())?;
        return Ok(text + "\n");
    }
    let wide =
        |column: fn(&config::Effective) -> usize| config.effective.iter().map(column).max().unwrap_or(0);
    let (keys, values) = (wide(|e| e.key.len()), wide(|e| e.value.len()));
    let mut out = String::new();
    for effective in &config.effective {
        let mut source = match effective.source {
            Source::Line(n) => format!("{}:{n}", path.display()),
            Source::Default => "default".to_owned(),
            Source::Found => "found out".to_owned(),
        };
        if effective.key == "log_level" && std::env::var_os(FILTER).is_some() {
            source += &format!(", overruled by {FILTER}");
        }
        out += &format!(
            "{:<keys$}  {:<values$}  {source}\n",
            effective.key, effective.value
        );
    }
    debug_assert_eq!(config.effective.len(), KEYS.len());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("etc/palisade.yaml");
        let mut answers = Answers {
            name: Some("n1".into()),
            advertise: Some("10.0.0.1".into()),
            out: out.clone(),
            yes: false,
            ..Answers::default()
        };
        let said = configure(&answers).expect("written");
        assert!(said.contains("node n1 at 10.0.0.1"), "{said}");
        let first = fs::read_to_string(&out).expect("there");
        answers.name = Some("n2".into());
        let refused = configure(&answers).expect_err("it is there");
        assert!(refused.contains("--yes"), "{refused}");
        assert_eq!(fs::read_to_string(&out).expect("there"), first);
        answers.yes = true;
        configure(&answers).expect("replaced");
        assert_ne!(fs::read_to_string(&out).expect("there"), first);
        answers.name = Some("Not A Name".into());
        let refused = configure(&answers).expect_err("no name");
        assert!(
            refused.contains("nothing was written") && refused.contains("name:"),
            "{refused}"
        );
        let shown = show(&out, false).expect("shown");
        let line = shown.lines().find(|l| l.starts_with("name ")).expect("its line");
        assert!(line.contains("n2") && line.contains("palisade.yaml:"), "{shown}");
        assert!(shown.contains("0.0.0.0:3080"), "{shown}");
    }

    #[test]
    fn the_usual_answer_is_not_written_down() {
        let asked = |typed: &str| ask(&mut typed.as_bytes(), &mut Vec::new(), "Name", "n1");
        assert_eq!(asked("\n"), None);
        assert_eq!(asked(" n1 \n"), None);
        assert_eq!(asked("n9\n"), Some("n9".into()));
    }
}

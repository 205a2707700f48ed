//! Environment variables that are kept or removed.
//!
//! sudo can say so for a command only, not for a person: it then holds for every rule whose command matches, other
//! people's too. Hence the warning.

use super::Expressed;
use crate::ledger::sha256_hex;
use crate::refusal::Refusal;
use crate::text::shown;

/// Variables, by what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment<'a> {
    keep: Vec<&'a str>,
    delete: Vec<&'a str>,
}

/// Commands of one alias. sudo-rs reads at most 127 items in a list.
const MAX_ITEMS: usize = 100;

/// Beginnings of variables that change what programs load, run, or believe about their caller.
const HARMFUL_PREFIXES: &[&str] = &[
    "BASH_", "DYLD_", "GCONV_", "GIT_", "GLIBC_", "JAVA_", "JDK_", "LD_", "MALLOC_", "NODE_", "NPM_", "PERL",
    "PYTHON", "RUBY", "SSL_CERT", "SUDO_", "XDG_", "_RLD", "__",
];

/// Further such variables. From sudo's own list of what it always removes, and its like.
const HARMFUL: &[&str] = &[
    "BASHOPTS",
    "BASH",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "EDITOR",
    "ENV",
    "FPATH",
    "GLOBIGNORE",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "LUA_CPATH",
    "LUA_PATH",
    "MAIL",
    "MANPAGER",
    "NIS_PATH",
    "NLSPATH",
    "NULLCMD",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PATH_LOCALE",
    "PROMPT_COMMAND",
    "PS4",
    "READNULLCMD",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "SYSTEMD_EDITOR",
    "SYSTEMD_PAGER",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMPATH",
    "TMPDIR",
    "TMPPREFIX",
    "TZDIR",
    "USER",
    "USERNAME",
    "VISUAL",
    "ZDOTDIR",
];

impl<'a> Environment<'a> {
    /// A variable that may not be kept is left out, which gives less. One that cannot be removed makes the whole
    /// refused, because without it more would be given.
    pub(super) fn parse(
        keep: &'a [String],
        delete: &'a [String],
        expressed: &mut Expressed,
        subject: &str,
    ) -> Result<Self, Refusal> {
        let mut environment = Environment { keep: Vec::new(), delete: Vec::new() };
        for name in delete {
            environment.delete.push(variable(name)?);
        }
        for name in keep {
            match variable(name).and_then(harmless) {
                Ok(name) => environment.keep.push(name),
                Err(refusal) => expressed.refusals.push(refusal.about(subject)),
            }
        }
        for names in [&mut environment.keep, &mut environment.delete] {
            names.sort_unstable();
            names.dedup();
        }
        Ok(environment)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.delete.is_empty()
    }

    /// An alias for the commands (named by its content, so that no two clash and a line never changes its meaning), and
    /// what holds for it.
    pub(super) fn lines(&self, commands: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        for commands in commands.chunks(MAX_ITEMS) {
            let commands = commands.join(", ");
            let content = format!("{commands}\0{}\0{}", self.keep.join(" "), self.delete.join(" "));
            let mut hash = sha256_hex(content.as_bytes()).to_ascii_uppercase();
            hash.truncate(20);
            let alias = format!("HOSTWARD_{hash}");
            lines.push(format!("Cmnd_Alias {alias} = {commands}"));
            for names in in_short_lists(&self.keep) {
                lines.push(format!("Defaults!{alias} env_keep += \"{names}\""));
            }
            // `env_delete` does nothing while sudo resets the environment, which it does by default.
            for names in in_short_lists(&self.delete) {
                lines.push(format!("Defaults!{alias} env_keep -= \"{names}\", env_check -= \"{names}\""));
            }
        }
        lines
    }

    pub(super) fn shared_warning(&self) -> Refusal {
        Refusal::backend(
            "entitlement-environment-shared",
            "sudo keeps and removes environment variables by command, not by person: what it says holds for every rule on this host that matches the same commands",
            "make sure that this is meant, or grant a script that sets what it needs",
        )
    }
}

fn in_short_lists(names: &[&str]) -> Vec<String> {
    names.chunks(10).map(|names| names.join(" ")).collect()
}

fn variable(name: &str) -> Result<&str, Refusal> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins_well && name.len() <= 64 && name.bytes().all(is_name) {
        return Ok(name);
    }
    Err(Refusal::backend(
        "entitlement-variable-invalid",
        format!(
            "`{}` is no name of an environment variable of at most 64 letters, digits and underscores",
            shown(name)
        ),
        "name each variable, without patterns and values",
    ))
}

fn harmless(name: &str) -> Result<&str, Refusal> {
    let is_harmful =
        HARMFUL.contains(&name) || HARMFUL_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !is_harmful {
        return Ok(name);
    }
    Err(Refusal::backend(
        "entitlement-variable-harmful",
        format!(
            "the environment variable `{name}` changes what programs load or run; whoever may set it may do anything as the run-as user"
        ),
        "leave it out of `env_keep`",
    ))
}

//! Sees to it that no worker outlives the gateway, however that ends.
//!
//! In:  the process groups of workers, as they start and end.
//! Out: nothing, until the gateway is gone; then the end of every group that was left.
//!
//! A killed gateway cannot end its workers, and one whose handler hangs would stay for ever: only
//! the next question to the Runtime API would tell it. Linux can tie a child's life to its
//! parent's, but only from inside the child before it runs its program, which takes unsafe code. So a
//! shell waits at a pipe that nobody but the gateway holds: when the pipe ends, so do the groups.
//! Without `/bin/sh` there is no such guard, which is said once.

use std::{io, process::Stdio};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    task::JoinHandle,
};

/// Knows the groups by lines `start <group>` and `end <group>`. Signals of a terminal or of a
/// service manager are not for it: its pipe tells when the gateway is gone.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r what group; do
    case $what in
        start) groups="$groups$group " ;;
        end) case $groups in
            *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
        esac ;;
    esac
done
[ "$groups" = ' ' ] && exit
for group in $groups; do kill -s TERM -- "-$group"; done
sleep 1
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

/// The shell, and what it is told. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Guardian {
    lines: mpsc::UnboundedSender<String>,
}

/// One process group in the guardian's care, until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    lines: mpsc::UnboundedSender<String>,
    group: u32,
}

impl Guardian {
    /// Starts the shell. The task ends, and with it the shell, when the last clone and the last
    /// [`Guarded`] are dropped.
    pub(super) fn start() -> (Self, JoinHandle<()>) {
        let (lines, told) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let pass_on = async || {
                let (mut shell, pipe) = start_shell()?;
                pass_on(told, pipe).await?;
                shell.wait().await
            };
            if let Err(error) = pass_on().await {
                tracing::warn!(
                    %error,
                    "no guard: workers of local functions may outlive a gateway that is killed"
                );
            }
        });
        (Self { lines }, task)
    }

    /// Takes the process group `group` into care.
    pub(super) fn watch(&self, group: u32) -> Guarded {
        let guarded = Guarded { lines: self.lines.clone(), group };
        guarded.tell("start");
        guarded
    }
}

impl Guarded {
    fn tell(&self, what: &str) {
        // Without a shell nobody listens, which was said.
        let _ = self.lines.send(format!("{what} {}\n", self.group));
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.tell("end");
    }
}

fn start_shell() -> io::Result<(Child, ChildStdin)> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .env_clear()
        // For `sleep`.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pipe = shell.stdin.take().expect("stdin is piped, a few lines above");
    Ok((shell, pipe))
}

async fn pass_on(
    mut told: mpsc::UnboundedReceiver<String>,
    mut pipe: ChildStdin,
) -> io::Result<()> {
    while let Some(line) = told.recv().await {
        pipe.write_all(line.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, time::Duration};

    use super::*;

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").process_group(0).kill_on_drop(true).spawn().unwrap()
    }

    /// The pipe ends here as it would with the gateway's process.
    #[tokio::test]
    async fn when_the_pipe_ends_the_groups_that_are_left_end_and_no_others() {
        let (mut shell, mut pipe) = start_shell().unwrap();
        let mut children: Vec<_> = (0..4).map(|_| sleeper()).collect();
        let groups: Vec<_> = children.iter().map(|child| child.id().unwrap()).collect();
        let mut text = String::new();
        for group in &groups {
            text += &format!("start {group}\n");
        }
        // The first, one in the middle, and one that it never heard of.
        text += &format!("end {}\nend {}\nend 1\n", groups[0], groups[2]);
        pipe.write_all(text.as_bytes()).await.unwrap();
        drop(pipe);
        let within = Duration::from_secs(10);
        assert!(tokio::time::timeout(within, shell.wait()).await.unwrap().is_ok());
        for at in [1, 3] {
            let status = tokio::time::timeout(within, children[at].wait()).await.unwrap().unwrap();
            assert_eq!(status.signal(), Some(15), "worker {at}");
        }
        for at in [0, 2] {
            assert_eq!(children[at].try_wait().unwrap(), None, "worker {at} was let go of");
        }
    }
}

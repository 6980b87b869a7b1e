use super::*;

const MOUNTS: &str = "\
24 1 0:22 / /proc rw,relatime shared:5 - proc proc rw
31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

/// A folder that looks like a tree of groups.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("procpool-cgroup-{}-{name}", std::process::id()));
        let tree = Self(path);
        tree.group("", "memory pids", "", true);
        tree
    }

    /// Makes a group with these controllers, of which it passes on these.
    fn group(&self, path: &str, controllers: &str, passed_on: &str, is_root: bool) -> PathBuf {
        let group = self.0.join("sys/fs/cgroup").join(path);
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.controllers"), controllers).unwrap();
        fs::write(group.join("cgroup.subtree_control"), passed_on).unwrap();
        if !is_root {
            fs::write(group.join("cgroup.events"), "populated 1").unwrap();
        }
        group
    }

    fn home_of(&self, own: &str) -> Result<Home, String> {
        Home::among(&self.0, MOUNTS, &format!("4:memory:/elsewhere\n0::{own}\n"))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_version_2_there_is_no_home() {
    let tree = Tree::new("none");
    let refused = |mounts, cgroup| Home::among(&tree.0, mounts, cgroup).unwrap_err();
    assert_eq!(refused(MOUNTS, "4:memory:/x\n"), "this program is in no control group of version 2");
    assert_eq!(
        refused("31 24 0:27 / /sys rw - sysfs sysfs rw\n", "0::/\n"),
        "no control groups of version 2 are mounted"
    );
    let part = "31 24 0:27 /other /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    assert_eq!(refused(part, "0::/mine\n"), "its control group is not mounted");
}

#[test]
fn in_the_root_of_the_machine_groups_are_made_beside_the_program() {
    let tree = Tree::new("root");
    assert_eq!(tree.home_of("/").unwrap().0, tree.0.join("sys/fs/cgroup"));
    assert_eq!(fs::read_to_string(tree.0.join("sys/fs/cgroup/cgroup.subtree_control")).unwrap(), "+memory");
    tree.group("", "cpu pids", "", true);
    assert!(tree.home_of("/").unwrap_err().ends_with("has no memory controller"));
}

#[test]
fn a_service_is_not_left_for_its_slice() {
    let tree = Tree::new("service");
    tree.group("system.slice", "memory pids", "memory", false);
    tree.group("system.slice/my.service", "memory pids", "", false);
    let why = tree.home_of("/system.slice/my.service").unwrap_err();
    assert!(why.ends_with("system.slice was not delegated to this program"), "{why}");
    // Nor is a group at the top left for the root of the machine.
    tree.group("my", "memory pids", "", false);
    assert!(tree.home_of("/my").unwrap_err().contains("was not delegated"));
}

#[test]
fn the_root_of_a_namespace_is_a_home() {
    let tree = Tree::new("namespace");
    let top = tree.group("", "memory pids", "memory", false);
    tree.group("main", "memory pids", "", false);
    assert_eq!(tree.home_of("/main").unwrap().0, top);
    // The program itself in it: then its group cannot have limited children.
    assert!(tree.home_of("/").unwrap_err().contains("was not delegated"));
}

#[test]
fn what_killed_programs_have_left_is_cleared_away() {
    let tree = Tree::new("clear");
    let top = tree.0.join("sys/fs/cgroup");
    for name in ["procpool-1-7-0-0", "procpool-2-7-0-0", "procpool-2-8-0-0", "procpool-x", "other"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    Home(top.clone()).clear(|pid, start| (pid, start) == (2, 7));
    let left = |name: &str| top.join(name).exists();
    assert!(left("procpool-2-7-0-0") && left("procpool-x") && left("other"));
    assert!(!left("procpool-1-7-0-0") && !left("procpool-2-8-0-0"));
    assert!(is_running(std::process::id(), start_time(std::process::id()).unwrap()));
    assert!(!is_running(std::process::id(), 1));
}

#[test]
fn events_are_read_by_name() {
    let events = "low 0\nhigh 0\nmax 17\noom 3\noom_kill 2\noom_group_kill 1\n";
    assert_eq!(group::number_after("oom_kill ", events), Some(2));
    assert_eq!(group::number_after("oom_kill ", "oom_group_kill 4\n"), None);
}

/// Wherever groups of version 2 can be made at all, with or without a memory controller.
#[test]
fn a_real_group_ends_with_all_that_is_in_it() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let Some(((mount, _), own)) = mount_of(&mounts).zip(own_path(&own)) else {
        return eprintln!("NOT TRIED: there are no control groups of version 2 here");
    };
    let home = Home(mount.join(own.trim_start_matches('/')));
    let group = match home.make(0) {
        Ok(group) => group,
        Err(e) => return eprintln!("NOT TRIED: no group can be made in {}: {e}", home.0.display()),
    };
    let path = group.path().to_path_buf();
    let mut child = std::process::Command::new("sh");
    // It waits until it is in the group; what it starts then leaves its session.
    let mut child = child.args(["-c", "read x; setsid sleep 1000 & echo; wait"]);
    child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    if let Err(e) = group.enter(child.id()) {
        child.kill().unwrap();
        child.wait().unwrap();
        return eprintln!("NOT TRIED: no process can be moved into {}: {e}", path.display());
    }
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut [0]).unwrap();
    assert_eq!(fs::read_to_string(path.join("cgroup.procs")).unwrap().lines().count(), 2);
    assert_eq!(group.ended_for_memory(), 0);
    drop(group);
    assert!(!path.exists());
    assert!(!child.wait().unwrap().success());
}

# Removes all of a lab: cleanup.sh RUN_DIRECTORY CGROUP NAME [guard]
# As guard it waits for the end of its standard input first, which comes when the lab's process is gone, however it
# went; a line on it means that somebody else takes care of the lab from now on.
run=$1 cgroup=$2 name=$3
if [ "${4:-}" = guard ] && read -r _; then exit 0; fi

if [ -d "$cgroup" ]; then
    echo 1 >"$cgroup/cgroup.kill"
    tries=500
    while grep -q '^populated 1' "$cgroup/cgroup.events" && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.02
    done
    # The groups above them stay, empty: another lab may be about to make its own in them.
    # On a machine with a hybrid hierarchy systemd-nspawn makes the same group in the old one.
    for group in "$cgroup" "/sys/fs/cgroup/systemd/hostward-lab/$name"; do
        if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} \;; fi
    done
fi
for namespace in /run/netns/"$name" /run/netns/"$name"-*; do
    if [ -e "$namespace" ]; then ip netns delete "${namespace##*/}"; fi
done
rm -rf /run/systemd/nspawn/propagate/"$name"-* "$run"
[ ! -d "$cgroup" ] && [ ! -e "$run" ]

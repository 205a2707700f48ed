# Becomes the container manager of a host, in its control group and a mount namespace of its own, which takes the
# mounts with it: start.sh CGROUP DIRECTORY LAYERS NETWORK MACHINE HOSTNAME
cgroup=$1 directory=$2 layers=$3 network=$4 machine=$5 hostname=$6
# Not in the group that systemd-nspawn divides: one with groups below it must not have processes of its own.
mkdir -p "$cgroup/manager"
echo $$ >"$cgroup/manager/cgroup.procs"

disk=$directory/disk
mkdir -p "$disk" "$directory/root"
if [ -e "$directory/disk.img" ]; then mount -o loop "$directory/disk.img" "$disk"; fi
mkdir -p "$disk/upper" "$disk/work"
if [ ! -e "$disk/seeded" ]; then
    cp -a "$directory/seed/." "$disk/upper/"
    : >"$disk/seeded"
fi
mount -t overlay overlay -o "lowerdir=$layers,upperdir=$disk/upper,workdir=$disk/work" "$directory/root"

# Without it a machine with a hybrid hierarchy gives its guests the old one, which recent systemd refuses.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
boot() (
    echo 0 >"$cgroup/cgroup.procs" || exit
    exec systemd-nspawn --boot --quiet --register=no --keep-unit --notify-ready=yes \
        --directory="$directory/root" --machine="$machine" --hostname="$hostname" \
        --network-namespace-path="$network" --capability=CAP_NET_ADMIN \
        --resolv-conf=off --timezone=off --link-journal=no
)

# With --keep-unit that is what it ends with when the host wants to be booted again.
reboot=133
while :; do
    status=0
    boot || status=$?
    if [ "$status" != "$reboot" ]; then exit "$status"; fi
done

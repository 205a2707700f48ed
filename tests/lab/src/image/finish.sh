# Finishes the unpacked image in $1: no identity of its own, no network sources, nothing that only delays a boot.
root=$1

# Offered packages come from a directory of the image, everything else is out of reach.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/var/cache/offered ./' >"$root/etc/apt/sources.list"
chroot "$root" apt-get --quiet=2 update

# Each host gets its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
: >"$root/etc/resolv.conf"

# A host never waits for a device, a clock, a console or housekeeping.
for unit in \
    apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer \
    console-getty.service getty.target getty@.service container-getty@.service serial-getty@.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-resolved.service \
    systemd-timesyncd.service systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service \
    systemd-binfmt.service systemd-modules-load.service systemd-pcrphase.service systemd-update-utmp-runlevel.service \
    systemd-tpm2-setup.service systemd-tpm2-setup-early.service \
    proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount
do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# Otherwise ldconfig and its like run at the first boot of every host.
touch "$root/etc/.updated" "$root/var/.updated"

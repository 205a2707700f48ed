# Makes a layer of what an installation changed: bake.sh CHANGES SEED LAYER
changes=$1 seed=$2 layer=$3
rm -rf "$layer.building"
cp -a "$changes" "$layer.building"
cd "$layer.building"

# What was this host's alone, and what it wrote down about itself.
(cd "$seed" && find . ! -type d) | xargs -r -d '\n' rm -f
rm -rf tmp var/tmp var/cache/lab var/log/journal var/lib/systemd/random-seed var/lib/dbus/machine-id
find var/log -type f -exec truncate --size=0 {} +

# The installation is newer than the files that say for when caches of `/usr` and of `/etc` were made.
touch etc/.updated var/.updated
mv "$layer.building" "$layer"
touch "$layer"

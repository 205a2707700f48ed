# Makes a base image: build.sh SUITE IMAGE PACKAGE,PACKAGE... "OFFERED OFFERED..."
# The mirror is HOSTWARD_LAB_MIRROR, or the one this machine installs Debian from, or mmdebstrap's own choice.
suite=$1 image=$2 packages=$3 offered=$4
building=$image.building
rm -rf "$building"

mirror=${HOSTWARD_LAB_MIRROR:-}
if [ -z "$mirror" ]; then
    # The main archive is the one whose release is a plain suite: no -updates, no -security.
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "Debian" && $4 !~ /-/ { print $3; exit }')
fi
proxy=$(apt-config dump --format '%f "%v";%n' Acquire::http::Proxy | grep -v '""' || true)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$LAB_FINISH" >"$work/finish.sh"
cat >"$work/offer.sh" <<'OFFER'
set -eu
root=$1
shift
rm -f "$root"/var/cache/apt/archives/*.deb
mkdir -p "$root/var/cache/offered"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --download-only --no-install-recommends install "$@" >&2
mv "$root"/var/cache/apt/archives/*.deb "$root/var/cache/offered/"
(cd "$root/var/cache/offered" && dpkg-scanpackages --multiversion . >Packages)
OFFER

mmdebstrap --quiet --variant=minbase --include="$packages" ${proxy:+--aptopt="$proxy"} \
    --customize-hook="sh $work/offer.sh \"\$1\" $offered" \
    --customize-hook="sh -eu $work/finish.sh \"\$1\"" \
    --skip=cleanup/apt/lists \
    "$suite" "$building" ${mirror:+"$mirror"}
mv "$building" "$image"

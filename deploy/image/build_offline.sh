#!/bin/sh
# Builds the image without a container engine and without a registry: the base image is made of Debian packages.
#
# Needs: root; Debian packages `buildah` and `debootstrap` (apt-get install --no-install-recommends buildah debootstrap);
# a Debian mirror and a Python package index. Both may be local: DEBIAN_MIRROR, and pip's own settings and certificates,
# which are lent to the build and stay out of the image.
#
#   deploy/image/build_offline.sh [TAG]        TAG: default localhost/atelier:dev
#
#   DEBIAN_MIRROR   default http://deb.debian.org/debian
#   BASE_IMAGE      default localhost/atelier-base:bookworm, made here when there is none of that name
#   REVISION        written into the image's labels; default: git's commit
set -eu

tag=${1:-localhost/atelier:dev}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
base=${BASE_IMAGE:-localhost/atelier-base:bookworm}
root=$(cd "$(dirname "$0")/../.." && pwd)
export BUILDAH_ISOLATION=chroot

if [ "$(id -u)" -ne 0 ]; then
    echo "build_offline.sh: must run as root (debootstrap makes a root file system)" >&2
    exit 1
fi
for program in buildah debootstrap; do
    if ! command -v "$program" >/dev/null; then
        echo "build_offline.sh: $program is missing: apt-get install --no-install-recommends buildah debootstrap" >&2
        exit 1
    fi
done

make_base() {
    container=$(buildah from scratch)
    trap 'buildah rm "$container" >/dev/null' EXIT
    tree=$(buildah mount "$container")
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$tree" "$mirror"
    rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/* "$tree"/var/log/*.log
    rm -f "$tree/etc/hostname" "$tree/etc/resolv.conf" # debootstrap copies this machine's
    echo "deb http://deb.debian.org/debian bookworm main" >"$tree/etc/apt/sources.list" # not this machine's mirror
    buildah umount "$container" >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd /bin/sh "$container"
    buildah commit --quiet "$container" "$base" >/dev/null
}

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    echo "Making the base image $base from $mirror" >&2
    (make_base)
fi

set -- # the secrets that this host has
for settings in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" /etc/pip.conf; do
    if [ -f "$settings" ]; then
        set -- "$@" --secret "id=pip_conf,src=$settings"
        break
    fi
done
for certificates in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" /etc/ssl/certs/ca-certificates.crt; do
    if [ -f "$certificates" ]; then
        set -- "$@" --secret "id=ca_bundle,src=$certificates"
        break
    fi
done

revision=${REVISION:-$(git -C "$root" rev-parse --verify --quiet HEAD || echo unknown)}
echo "Building $tag on $base" >&2
exec buildah build --layers --pull-never \
    --build-arg "BASE_IMAGE=$base" --build-arg "REVISION=$revision" \
    "$@" --file "$root/deploy/Dockerfile" --tag "$tag" "$root"

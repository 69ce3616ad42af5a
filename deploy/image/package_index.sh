# Sourced by build steps: uses the package index settings and the certificates that the build host lent as secrets.
#
#   pip_conf   a pip.conf, for an index other than PyPI (pip installs uv with it)
#   ca_bundle  PEM certificates to trust, where the way to the index leads through a proxy with its own authority
#
# uv takes the files from the addresses in uv.lock; a proxy for them comes from the builder's HTTPS_PROXY argument.

if [ -f /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
if [ -f /run/secrets/ca_bundle ]; then
    export PIP_CERT=/run/secrets/ca_bundle
    export SSL_CERT_FILE=/run/secrets/ca_bundle
fi

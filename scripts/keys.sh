# To be sourced, with the data directory in $data: exports the three secrets of the server that `make run` starts.
# They are made once and kept in $data/keys.env, readable by their owner only. What the environment has set wins.
# shellcheck shell=sh disable=SC2154 # data comes from whoever sources this

keys_file=$data/keys.env

random_key() { # 48 hexadecimal digits: 192 bits
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

if [ ! -s "$keys_file" ]; then
    mkdir -p "$data"
    # Written under another name first: an interrupted run leaves no half a file.
    (
        umask 077
        for name in DIBS_ADMIN_KEY DIBS_SERVICE_KEY DIBS_JWT_SECRET; do
            echo "$name=$(random_key)"
        done >"$keys_file.$$"
        mv "$keys_file.$$" "$keys_file"
    )
fi
while IFS='=' read -r name value; do
    case $name in
    DIBS_ADMIN_KEY) export DIBS_ADMIN_KEY="${DIBS_ADMIN_KEY:-$value}" ;;
    DIBS_SERVICE_KEY) export DIBS_SERVICE_KEY="${DIBS_SERVICE_KEY:-$value}" ;;
    DIBS_JWT_SECRET) export DIBS_JWT_SECRET="${DIBS_JWT_SECRET:-$value}" ;;
    esac
done <"$keys_file"

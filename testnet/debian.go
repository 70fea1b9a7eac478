package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// NginxImage and PostgresImage return references of images of Debian's nginx and
// PostgreSQL. Their entrypoints begin as root and give it up, as those of the
// official images do. Cleanup removes them.
func NginxImage(t testing.TB) string {
	t.Helper()
	return debianImage(t, "nginx", `STOPSIGNAL SIGQUIT
ENTRYPOINT ["/docker/nginx"]
`, map[string]string{"docker/nginx": `#!/bin/sh -e
# The page is its server's alone: only a worker that became www-data can read it.
mkdir -p /var/www && echo "served by www-data" >/var/www/index.html
chown -R www-data:www-data /var/www && chmod 400 /var/www/index.html
exec nginx -c /docker/nginx.conf
`, "docker/nginx.conf": `daemon off;
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;
events {}
http {
  access_log off;
  server { listen 80; root /var/www; }
}
`})
}

// PostgresImage is described with NginxImage. When it answers, it prints what it
// was asked: "answer 42".
func PostgresImage(t testing.TB) string {
	t.Helper()
	return debianImage(t, "postgres", `STOPSIGNAL SIGINT
ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql-current/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["/docker/postgres"]
`, map[string]string{"docker/postgres": `#!/bin/sh -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql && chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
initdb --auth trust --no-sync --locale C >/dev/null
(until psql -qtA -c "select 'answer ' || 6 * 7" postgres 2>/dev/null; do sleep 0.1; done) &
exec postgres -c listen_addresses= -c fsync=off
`})
}

// StacksImage returns the reference of an image of Debian's nginx, PostgreSQL, Redis and
// Mosquitto, with a script for each that begins as root and gives it up. Their data
// outlives the container where a volume is mounted. Cleanup removes it.
func StacksImage(t testing.TB) string {
	t.Helper()
	return debianImage(t, "stacks", `ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql-current/bin:/usr/sbin:/usr/bin:/sbin:/bin
`, map[string]string{"docker/nginx": `#!/bin/sh -e
mkdir -p /var/www && echo "served by www-data" >/var/www/index.html
chown -R www-data:www-data /var/www && chmod 400 /var/www/index.html
exec nginx -c /docker/nginx.conf
`, "docker/nginx.conf": `daemon off;
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;
events {}
http {
  access_log off;
  server { listen 80; root /var/www; }
}
`, "docker/redis": `#!/bin/sh -e
chown redis:redis /data
exec setpriv --reuid redis --regid redis --init-groups redis-server --dir /data --appendonly yes --appendfsync always --protected-mode no
`, "docker/database": `#!/bin/sh -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql && chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth trust --no-sync --locale C >/dev/null
  echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c "listen_addresses=*"
`, "docker/writer": `#!/bin/sh
sql() { psql -h db -U postgres -qtAc "$1"; }
until sql "create table if not exists t (n int primary key)"; do sleep 0.2; done
while :; do
  n=$(sql "insert into t select coalesce(max(n), 0) + 1 from t returning n") && echo "committed $n" || sleep 0.1
done
`, "docker/mosquitto.conf": `listener 1883
allow_anonymous true
user root
`})
}

// debianImage builds an image of Debian's programs with files, and what else the
// Dockerfile says.
func debianImage(t testing.TB, name, dockerfile string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["Dockerfile"] = fmt.Sprintf("FROM %s\nCOPY docker /docker/\nLABEL %s=%d\n%s", debianTree(t), testLabel, os.Getpid(), dockerfile)
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	reference := "hearth-test-" + name + ":" + strconv.Itoa(os.Getpid())
	Docker(t, "build", "--quiet", "--tag", reference, dir)
	return reference
}

// debianTree imports the tree that debian.sh unpacks, once a process.
func debianTree(t testing.TB) string {
	t.Helper()
	reference := "hearth-test-debian:" + strconv.Itoa(os.Getpid())
	if found, err := docker("images", "--quiet", reference); err == nil && found != "" {
		return reference
	}
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := exec.Command(filepath.Join(top, "testnet", "debian.sh")).Output()
	if err != nil {
		why := ""
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			why = string(e.Stderr)
		}
		t.Fatalf("debian.sh: %v: %s", err, why)
	}
	label := fmt.Sprintf("LABEL %s=%d", testLabel, os.Getpid())
	Docker(t, "import", "--change", label, strings.TrimSpace(string(tree)), reference)
	return reference
}

package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// maxPasswd is how much of a container's /etc/passwd is looked at.
const maxPasswd = 1 << 20

// giveSecrets puts the secrets into the folder that the container will see. The
// engine does that, through a second container that is never started and sees the
// folder writable: so a file can be any user's, also where hearth is not root or
// may not give files away, and where the engine maps users.
func (d *Driver) giveSecrets(ctx context.Context, spec *runtime.Spec, made, dir string) error {
	uid, err := d.userOf(ctx, made)
	if err != nil {
		return err
	}
	archive, err := secretArchive(spec.Secrets, uid)
	if err != nil {
		return err
	}
	config := &container.Config{Image: spec.Image, Cmd: []string{"never-run"}, Labels: map[string]string{
		labelMesh: d.cfg.Mesh, labelNode: string(d.cfg.Node), labelFiller: d.name(spec.ID),
	}}
	host := &container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{secretsMount(dir, false)}}
	filler := d.name(spec.ID) + fillerSuffix
	err = d.within(ctx, changeTimeout, "fill in secrets", func(ctx context.Context) error {
		c := d.client.Load()
		if _, err := c.ContainerCreate(ctx, config, host, nil, nil, filler); err != nil {
			return err
		}
		return c.CopyToContainer(ctx, filler, protocol.SecretsDir, bytes.NewReader(archive), container.CopyToContainerOptions{})
	})
	clear(archive)
	d.discard(ctx, filler)
	if err != nil {
		return d.explain(ctx, "fill in secrets", err)
	}
	return d.secrets.check(dir, spec.Secrets)
}

// fillerSuffix ends the name of a container that secrets are filled in through. No
// execution's name ends so.
const fillerSuffix = "-secrets"

// secretArchive makes an archive of files that only the user can read.
func secretArchive(secrets []protocol.Secret, uid int) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, s := range secrets {
		head := &tar.Header{Typeflag: tar.TypeReg, Name: s.Name, Mode: 0o400, Uid: uid, Size: int64(len(s.Data)), Format: tar.FormatPAX}
		if err := w.WriteHeader(head); err != nil {
			return nil, err
		}
		if _, err := w.Write(s.Data); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func errOtherFolder() error {
	return protocol.Errorf(protocol.CodePolicy, "secrets cannot be given here: the node's engine does not see hearth's folder in memory, as one of the two runs in a container")
}

// userOf returns the number of the user that a container's program starts as.
func (d *Driver) userOf(ctx context.Context, made string) (int, error) {
	info, err := d.look(ctx, made)
	if err != nil {
		return 0, err
	}
	name, _, _ := strings.Cut(info.Config.User, ":")
	if name == "" || name == "root" {
		return 0, nil
	}
	if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(uid), nil
	}
	var uid int
	err = d.within(ctx, askTimeout, "read /etc/passwd of an image", func(ctx context.Context) error {
		content, _, err := d.client.Load().CopyFromContainer(ctx, made, "/etc/passwd")
		if err != nil {
			return err
		}
		defer content.Close()
		uid, err = uidIn(content, name)
		return err
	})
	if cerrdefs.IsNotFound(err) || errors.Is(err, errNoUser) {
		return 0, protocol.Errorf(protocol.CodeStartFailed, "its image knows no user %q, whom its secrets are for", name)
	}
	return uid, err
}

var errNoUser = errors.New("no such user")

// uidIn finds a user in an archive of one /etc/passwd; see passwd(5).
func uidIn(archive io.Reader, name string) (int, error) {
	files := tar.NewReader(archive)
	head, err := files.Next()
	if err != nil {
		return 0, fmt.Errorf("read /etc/passwd: %w", err)
	}
	if head.Typeflag != tar.TypeReg {
		return 0, errNoUser
	}
	lines := bufio.NewScanner(io.LimitReader(files, maxPasswd))
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < 3 || f[0] != name {
			continue
		}
		if uid, err := strconv.ParseUint(f[2], 10, 31); err == nil {
			return int(uid), nil
		}
	}
	return 0, errNoUser
}

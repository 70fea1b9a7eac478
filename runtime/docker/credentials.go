package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/registry"
)

// credentialsTimeout bounds the time that a credential helper has to answer.
const credentialsTimeout = 20 * time.Second

// hubKey is what the docker config calls the registry of images that name none.
const hubKey = "https://index.docker.io/v1/"

// authorization returns the credentials for the image's registry; where they
// cannot be had, it is asked without.
func (d *Driver) authorization(ctx context.Context, named reference.Named) string {
	auth, err := d.credentials(ctx, named)
	if err != nil {
		d.cfg.Log.Warn("credentials for a registry not found", "registry", reference.Domain(named), "err", err)
	}
	return auth
}

// credentials returns what the docker config holds for the image's registry,
// as the engine wants it; empty where it holds nothing. The config is read
// each time, since a login may happen at any time.
func (d *Driver) credentials(ctx context.Context, named reference.Named) (string, error) {
	key := reference.Domain(named)
	if key == "docker.io" {
		key = hubKey
	}
	type answer struct {
		auth string
		err  error
	}
	answered := make(chan answer, 1)
	// A helper is another program and cannot be told to give up: where it
	// hangs, the pull goes on without it.
	go func() {
		auth, err := lookUp(d.cfg.ConfigDir, key)
		answered <- answer{auth, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	select {
	case a := <-answered:
		return a.auth, a.err
	case <-ctx.Done():
		return "", fmt.Errorf("credential helper: %w", ctx.Err())
	}
}

func lookUp(dir, key string) (string, error) {
	file, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	found, err := file.GetAuthConfig(key)
	if err != nil {
		return "", err
	}
	if found.Username == "" && found.Auth == "" && found.IdentityToken == "" && found.RegistryToken == "" {
		return "", nil
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username:      found.Username,
		Password:      found.Password,
		Auth:          found.Auth,
		ServerAddress: found.ServerAddress,
		IdentityToken: found.IdentityToken,
		RegistryToken: found.RegistryToken,
	})
}

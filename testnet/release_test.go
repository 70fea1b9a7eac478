package testnet_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

// What `hearth version --sbom` lists is what the linker put into the program, each
// module with its licence.
func TestBillOfMaterials(t *testing.T) {
	hearth := testnet.Binary(t)
	out, err := exec.Command(hearth, "version", "--sbom").Output()
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct {
			Name, Version, PURL string
			Licenses            []struct{ Expression string }
		}
	}
	if err := json.Unmarshal(out, &bom); err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)
	for _, c := range bom.Components {
		listed[c.Name] = c.Version
		if len(c.Licenses) != 1 || c.Licenses[0].Expression == "" {
			t.Errorf("%s has no licence: run `make generate`", c.Name)
		}
		if want := "pkg:golang/" + c.Name + "@" + c.Version; c.PURL != want {
			t.Errorf("%s is told as %s", want, c.PURL)
		}
	}
	linked, err := exec.Command("go", "version", "-m", hearth).Output()
	if err != nil {
		t.Fatal(err)
	}
	count := 1 // the standard library
	for line := range strings.Lines(string(linked)) {
		if word := strings.Fields(line); len(word) >= 3 && word[0] == "dep" {
			count++
			if listed[word[1]] != word[2] {
				t.Errorf("%s %s is linked, %q listed", word[1], word[2], listed[word[1]])
			}
		}
	}
	if count < 10 || bom.BOMFormat != "CycloneDX" || len(listed) != count {
		t.Errorf("%s with %d components, %d are linked", bom.BOMFormat, len(listed), count)
	}
}

// systemd understands each line of the unit that install writes.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is missing: testnet/setup.sh systemd installs it")
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(cmd.Environ(), "HEARTH_STATE="+filepath.Join(dir, "state of it"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		if name != testnet.Binary(t) && len(out) > 0 {
			t.Errorf("%s: %s", name, out)
		}
	}
	run(testnet.Binary(t), "secret", "new", "--out", secret)
	run(testnet.Binary(t), "install", "--unit-dir", dir, "--bin-dir", dir, "--secret-file", secret, "--name", "attic", "--label", `note=50 % "new" $x \`)
	run("systemd-analyze", "verify", filepath.Join(dir, "hearth.service"))
}

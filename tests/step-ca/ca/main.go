// A real step-ca, from its library, set up as a JSON file says. Authority and keys are made in $STEPPATH; where they are
// there already, only the provisioners are new. When it answers, it prints one line of JSON. For tests only.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/ca"
	"github.com/smallstep/certificates/cas/apiv1"
	_ "github.com/smallstep/certificates/cas/softcas"
	"github.com/smallstep/certificates/pki"
	"go.step.sm/crypto/jose"
)

// Of the authority's own keys.
var password = []byte("of the authority")

// What the CA is to be like.
type setup struct {
	SSH          bool                     `json:"ssh"`
	DNSNames     []string                 `json:"dns_names"`
	Address      string                   `json:"address"`      // where it listens; a free port of loopback where it is empty
	Provisioners []map[string]interface{} `json:"provisioners"` // as in ca.json, but `password` in place of `key`
}

// The provisioners, each of type JWK with a new key, escrowed under its password.
func (s setup) provisioners() (list provisioner.List) {
	for _, entry := range s.Provisioners {
		password, isJWK := entry["password"].(string)
		if !isJWK {
			continue
		}
		public, private, err := jose.GenerateDefaultKeyPair([]byte(password))
		check(err)
		encrypted, err := private.CompactSerialize()
		check(err)
		delete(entry, "password")
		entry["key"], entry["encryptedKey"] = public, encrypted
	}
	text, err := json.Marshal(s.Provisioners)
	check(err)
	check(json.Unmarshal(text, &list))
	return list
}

// Where it is to listen.
func (s setup) address() string {
	if s.Address != "" {
		return s.Address
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	address := free.Addr().String()
	check(free.Close())
	return address
}

// Makes an authority, and says which fingerprint its root has.
func (s setup) generate() string {
	address := s.address()
	options := []pki.Option{pki.WithAddress(address), pki.WithDNSNames(s.DNSNames), pki.WithCaURL("https://" + address),
		pki.WithProvisioner("unused"), pki.WithDeploymentType(pki.StandaloneDeployment)}
	if s.SSH {
		options = append(options, pki.WithSSH())
	}
	p, err := pki.New(apiv1.Options{Type: apiv1.SoftCAS, IsCreator: true}, options...)
	check(err)
	check(p.GenerateKeyPairs(password))
	root, err := p.GenerateRootCertificate("Root", "Test", "Test", password)
	check(err)
	check(p.GenerateIntermediateCertificate("Intermediate", "Test", "Test", root, password))
	if s.SSH {
		check(p.GenerateSSHSigningKeys(password))
	}
	check(p.Save())
	return p.GetRootFingerprint()
}

func main() {
	stdout := os.Stdout
	os.Stdout = os.Stderr
	var wanted setup
	text, err := os.ReadFile(os.Args[1])
	check(err)
	check(json.Unmarshal(text, &wanted))

	fingerprint, file := "", filepath.Join(pki.GetConfigPath(), "ca.json")
	if _, err := os.Stat(file); os.IsNotExist(err) {
		fingerprint = wanted.generate()
	}
	settings, err := config.LoadConfiguration(file)
	check(err)
	settings.AuthorityConfig.Provisioners = wanted.provisioners()
	authority, err := ca.New(settings, ca.WithPassword(password), ca.WithQuiet(true))
	check(err)
	go func() { check(authority.Run()) }()

	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for {
		if answer, err := client.Get("https://" + settings.Address + "/health"); err == nil && answer.StatusCode == http.StatusOK {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Fprintf(stdout, "{\"address\":%q,\"root_fingerprint\":%q}\n", settings.Address, fingerprint)
	// Whoever started it holds the other end: it ends with them, however they end.
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

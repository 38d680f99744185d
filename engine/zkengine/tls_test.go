package zkengine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// certificate writes a key and a certificate for 127.0.0.1, which is its own authority,
// and returns the files: both in one, and the certificate alone.
func certificate(t *testing.T) (both, cert string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zookeeper"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	dir := t.TempDir()
	both, cert = filepath.Join(dir, "both.pem"), filepath.Join(dir, "cert.pem")
	for file, text := range map[string][]byte{both: append(keyPEM, certPEM...), cert: certPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return both, cert
}

func TestTLSIsSpokenAndTheServerChecked(t *testing.T) {
	t.Parallel()
	zktest.Need(t)
	both, cert := certificate(t)
	port := strconv.Itoa(childproc.FreePorts(1)[0])
	zktest.Start(t, zktest.Options{
		Config: []string{
			"secureClientPort=" + port, "ssl.clientAuth=none",
			"ssl.keyStore.location=" + both, "ssl.keyStore.type=PEM", "ssl.trustStore.location=" + cert, "ssl.trustStore.type=PEM",
		},
		JVM: []string{"-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory"},
	})
	u := newUser(t, "zk://127.0.0.1:"+port+"?tls=on&ca="+cert)
	c := newClaim("secret", "mutex")
	wait(t, "a lock over TLS", u.begin(c))
	u.release(c)
	target, err := lockstep.ParseURL("zk://127.0.0.1:" + port + "?tls=on")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Driver.Open(guarded(t), target); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server whose certificate nobody knows: %v", err)
	}
}

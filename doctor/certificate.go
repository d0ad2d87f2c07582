package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

func certificates(_ context.Context, t *Target) []Finding {
	var all []Finding
	for _, c := range t.Certificates {
		all = append(all, oneCertificate(c, t.Now())...)
	}
	return all
}

func oneCertificate(c Certificate, now time.Time) []Finding {
	block, _ := pem.Decode(c.PEM)
	if block == nil {
		return []Finding{{Level: Attention, Text: c.What + ": no PEM certificate is in the file", Do: c.Do}}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return []Finding{{Level: Attention, Text: c.What + ": " + err.Error(), Do: c.Do}}
	}
	f := Finding{Level: OK, Text: fmt.Sprintf("%s: valid until %s", c.What, cert.NotAfter.Format(time.DateOnly))}
	switch {
	case now.Before(cert.NotBefore):
		f.Level, f.Text = Attention, fmt.Sprintf("%s: valid only from %s on, and the clock says %s", c.What, cert.NotBefore.Format(time.DateTime), now.UTC().Format(time.DateTime))
		f.Do = "set the clock"
	case now.After(cert.NotAfter):
		f.Level, f.Text, f.Do = Attention, fmt.Sprintf("%s: not valid since %s", c.What, cert.NotAfter.Format(time.DateTime)), c.Do
	case now.Add(soon).After(cert.NotAfter):
		f.Level, f.Do = Attention, c.Do
	}
	all := []Finding{f}
	for _, h := range c.Hosts {
		if err := cert.VerifyHostname(h); err != nil {
			all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s: not for %s, by which machines reach it", c.What, h), Do: c.Do})
		}
	}
	return all
}

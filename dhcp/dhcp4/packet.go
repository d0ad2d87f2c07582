package dhcp4

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Layout of a DHCP packet (RFC 2131 section 2), offsets in bytes.
const (
	offsetHardware   = 28
	lenHardware      = 16
	offsetServerName = 44
	lenServerName    = 64
	offsetFile       = 108
	lenFile          = 128
	offsetOptions    = 240 // behind the magic cookie
	lenMinimum       = 300 // BOOTP (RFC 951): some relays drop shorter packets
)

// Option codes the library has no name for, or names differently.
const (
	optPad             = dhcpv4.GenericOptionCode(0)
	optOverload        = dhcpv4.GenericOptionCode(52)  // RFC 2132 section 9.3
	optUUID            = dhcpv4.GenericOptionCode(97)  // RFC 4578 section 2.3
	optSubnetSelection = dhcpv4.GenericOptionCode(118) // RFC 3011
	optTFTPServers     = dhcpv4.GenericOptionCode(150) // RFC 5859
	optIPXE            = dhcpv4.GenericOptionCode(175) // iPXE's encapsulated options
	optBCDPath         = dhcpv4.GenericOptionCode(252) // Windows boot manager: path of the BCD
)

// ErrMalformed is wrapped by every error of Parse: the bytes are not a DHCP
// packet that can be read.
var ErrMalformed = errors.New("malformed packet")

// Parse reads a DHCP packet. Beyond what the library does it
//
//   - reads options that overflow into the file and server name fields (option
//     52), in the order of RFC 3396 section 5;
//   - accepts an option list whose end option is missing, as some old boot ROMs
//     send it, as long as every option is whole.
//
// Errors wrap ErrMalformed.
func Parse(b []byte) (*dhcpv4.DHCPv4, error) {
	if len(b) < offsetOptions {
		return nil, fmt.Errorf("%w: %d bytes, a DHCP packet has at least %d", ErrMalformed, len(b), offsetOptions)
	}
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		closed := append(slices.Clone(b), dhcpv4.OptionEnd.Code())
		if p, err = dhcpv4.FromBytes(closed); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	overload := p.Options.Get(optOverload)
	if len(overload) != 1 {
		return p, nil
	}
	if overload[0]&1 != 0 {
		if err := readOverloaded(p.Options, b[offsetFile:offsetFile+lenFile]); err != nil {
			return nil, fmt.Errorf("%w: options in the file field: %w", ErrMalformed, err)
		}
		p.BootFileName = ""
	}
	if overload[0]&2 != 0 {
		if err := readOverloaded(p.Options, b[offsetServerName:offsetServerName+lenServerName]); err != nil {
			return nil, fmt.Errorf("%w: options in the sname field: %w", ErrMalformed, err)
		}
		p.ServerHostName = ""
	}
	return p, nil
}

// ClientBytes are bytes of a packet that differ from client to client, found
// without reading it as a whole; nil when the packet is too short.
func ClientBytes(b []byte) []byte {
	if len(b) < offsetOptions {
		return nil
	}
	return b[offsetHardware : offsetHardware+lenHardware]
}

// Begins says whether a packet is one that begins an exchange, without reading
// it as a whole: the message type is the first option nearly everywhere.
func Begins(b []byte) bool {
	const discover = byte(dhcpv4.MessageTypeDiscover)
	return len(b) > offsetOptions+2 && [3]byte(b[offsetOptions:]) == [3]byte{dhcpv4.OptionDHCPMessageType.Code(), 1, discover}
}

// readOverloaded appends the options of an overloaded header field: instances
// of one code concatenate (RFC 3396).
func readOverloaded(into dhcpv4.Options, field []byte) error {
	more := make(dhcpv4.Options)
	if err := more.FromBytes(field); err != nil {
		return err
	}
	for code, value := range more {
		if code == optOverload.Code() {
			continue // RFC 2131 section 4.1: the options field alone says what is overloaded
		}
		into[code] = append(slices.Clip(into[code]), value...)
	}
	return nil
}

// Encode writes a reply. It differs from the library's ToBytes where firmware
// needs it:
//
//   - message type, server identifier and boot file name come first, so that
//     the end option never follows the file name: old PXE ROMs read one byte
//     too many and ask for a file whose name ends in 0xFF (docs/quirks.md);
//   - a file name that does not fit the header's 127 characters is left out of
//     the header instead of being cut (the whole name is in option 67);
//   - option 82 comes last (RFC 3046 section 2.1).
//
// Values longer than 255 bytes are split (RFC 3396). The result is at least 300
// bytes long.
func Encode(p *dhcpv4.DHCPv4) []byte {
	header := *p
	header.Options = nil
	if len(header.BootFileName) >= lenFile {
		header.BootFileName = ""
	}
	b := header.ToBytes()[:offsetOptions]
	first := []uint8{
		dhcpv4.OptionDHCPMessageType.Code(),
		dhcpv4.OptionServerIdentifier.Code(),
		dhcpv4.OptionBootfileName.Code(),
	}
	relay := dhcpv4.OptionRelayAgentInformation.Code()
	last := uint8(0)
	write := func(code uint8) {
		if value, ok := p.Options[code]; ok {
			b = appendOption(b, code, value)
			last = code
		}
	}
	for _, code := range first {
		write(code)
	}
	for _, code := range slices.Sorted(maps.Keys(p.Options)) {
		if !slices.Contains(first, code) && code != relay && code != 0 && code != 255 {
			write(code)
		}
	}
	write(relay)
	if last == dhcpv4.OptionBootfileName.Code() {
		b = append(b, optPad.Code())
	}
	b = append(b, dhcpv4.OptionEnd.Code())
	for len(b) < lenMinimum {
		b = append(b, optPad.Code())
	}
	return b
}

func appendOption(b []byte, code uint8, value []byte) []byte {
	for {
		n := min(len(value), 255)
		b = append(b, code, uint8(n))
		b = append(b, value[:n]...)
		value = value[n:]
		if len(value) == 0 {
			return b
		}
	}
}

// encodedLen is the length of Encode's result in bytes, padding apart.
func encodedLen(p *dhcpv4.DHCPv4) int {
	n := offsetOptions + 2 // the end option, perhaps a pad
	for _, value := range p.Options {
		n += len(value) + 2*max(1, (len(value)+254)/255)
	}
	return n
}

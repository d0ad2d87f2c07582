package wire

import "encoding/binary"

// TypeProbe is a datagram that only shows that it arrived, from the server to a
// group or to one machine.
const TypeProbe Type = 4

// Probe is the clear part of a probe datagram. What follows is sealed like every
// datagram: zeros, as many as the probe's size asks for.
//
//	 0  1  version and type: 0x14
//	 1  3  zero
//	 4  4  probe id
//	 8  8  packet number, also the counter part of the nonce
//	16  4  train: datagrams that were sent for one question
//	20  4  index in the train
//	24  4  when it was sent: microseconds of the sender's clock, modulo 2^32
type Probe struct {
	ID     uint32
	Number PacketNumber
	Train  uint32
	Index  uint32
	Sent   uint32
}

// ProbeSize is the size of Probe in bytes.
const ProbeSize = 28

// Append appends the header to b.
func (p *Probe) Append(b []byte) []byte {
	b = append(b, Version<<4|byte(TypeProbe), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, p.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Number))
	b = binary.BigEndian.AppendUint32(b, p.Train)
	b = binary.BigEndian.AppendUint32(b, p.Index)
	return binary.BigEndian.AppendUint32(b, p.Sent)
}

// ParseProbe reads the header of a probe datagram. Errors: ErrShort, ErrVersion,
// ErrType.
func ParseProbe(datagram []byte) (p Probe, err error) {
	switch {
	case len(datagram) < ProbeSize+TagSize:
		return p, ErrShort
	case datagram[0]>>4 != Version:
		return p, ErrVersion
	case Type(datagram[0]&15) != TypeProbe:
		return p, ErrType
	}
	p.ID = binary.BigEndian.Uint32(datagram[4:])
	p.Number = PacketNumber(binary.BigEndian.Uint64(datagram[8:]))
	p.Train = binary.BigEndian.Uint32(datagram[16:])
	p.Index = binary.BigEndian.Uint32(datagram[20:])
	p.Sent = binary.BigEndian.Uint32(datagram[24:])
	return p, nil
}

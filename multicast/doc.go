// Package multicast moves objects to many members in one encrypted session.
//
// Terms:
//
//   - a session is one transmission of one or more objects to any number of members;
//   - a member is a receiver that was admitted and got the session's keys; it wants
//     some of the objects, or all;
//   - a block is the unit of hashing and of repair; it is part of one object, and
//     is coded into symbols. Blocks are numbered through all objects;
//   - a symbol is the payload of one datagram: source symbols are the block's
//     bytes, repair symbols are computed from them, and any k of them rebuild
//     the block, where k is the number of source symbols;
//   - a deficit is how many symbols of a block a member still lacks.
//
// The way of a block, with what runs in order (one goroutine) and what in
// parallel:
//
//  1. schedule picks a block that somebody lacks                  (in order)
//  2. the source is read, repair symbols are computed if needed   (in order)
//  3. each symbol gets its packet number and is sealed            (in order)
//  4. the pacer releases a burst, one call sends it               (in order)
//  5. the member opens each datagram into its place in the block  (in order)
//  6. a block with k symbols is decoded, hashed and written        (parallel, as
//     soon as processor or disk do not keep up)
//  7. if it was asked for, the SHA-256 of each object follows the written
//     prefix                                                      (in order)
//  8. the member reports what it still lacks, at the interval the sender asked
//     for                                                         (in order)
//  9. the worst deficit of each block becomes its next repair      (in order)
//
// Nothing depends on a datagram arriving, on its order, or on a member being
// there from the start: reports state what is lacking now, and symbols say
// which block they belong to. A member that comes late lacks much, a
// member that lost a datagram lacks little; both are served by the same rule.
//
// Here are the messages of the join, and what else both sides of a session know. A
// session is sent by multicast/sender and received by multicast/receiver, neither of
// which knows the other or has sockets. What they are made of: multicast/rate decides
// how fast, multicast/seal has the keys, multicast/block the code, multicast/assembly
// the way of blocks to the disk, and multicast/wire the bytes of datagrams.
package multicast

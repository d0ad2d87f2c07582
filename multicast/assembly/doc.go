// Package assembly puts objects together from blocks that come in any order, and from
// anywhere: from a session, by unicast, from what an interrupted receive has left.
//
// A block is written after its hash is right, and never before. The target is a file or
// a disk, or a stream: a program that takes the object in order.
package assembly

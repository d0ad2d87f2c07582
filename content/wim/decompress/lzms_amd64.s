#include "textflag.h"
#include "go_asm.h"

// Registers:
//
//	R8        the decoder
//	DI, R15   where the next byte goes, and 32 bytes before the end of dst
//	SI        the next word of the range decoder
//	R12, R13  its width and code
//	R14       context of isMatch, times the size of a lzmsBit
//	R9        behind the next byte of those from the back
//	R10, R11  bits from there that are not yet used, and how many
//	X0        the last four offsets, the latest in the lowest
//	AX-DX, X1 for anything
//
// Stack: 0 is the start of dst; 8, 16 and 24 are SI, R12 and R13 as they were before a
// match.

// MARGIN is the least distance, in bytes, of what is read from the front and from the
// back before an item: it takes at most 10 of the one (5 decisions) and, with what is
// read ahead, 23 of the other.
#define MARGIN 40

// BIT is the place of a field of a lzmsBit, a context of a decision.
#define BIT(of, field, context) (of+lzmsDecisions_bits+field)(R8)(context*1)

// NORMAL gives the range decoder another word when it is narrow.
#define NORMAL(enough) \
	CMPL    R12, $0x10000 \
	JAE     enough        \
	SHLL    $16, R12      \
	SHLL    $16, R13      \
	MOVWLZX (SI), AX      \
	ORL     AX, R13       \
	ADDQ    $2, SI        \
enough:

// DECIDE goes to one, with the bound in AX, when a decision goes for 1.
#define DECIDE(of, context, one) \
	MOVL  R12, AX                               \
	SHRL  $6, AX                                \
	IMULL BIT(of, lzmsBit_chance, context), AX  \
	CMPL  R13, AX                               \
	JAE   one

// ZERO is lzmsBit.zero.
#define ZERO(of, context) \
	MOVQ  BIT(of, lzmsBit_recent, context), BX  \
	LEAQ  (BX)(BX*1), DX                        \
	MOVQ  DX, BIT(of, lzmsBit_recent, context)  \
	SHRQ  $63, BX                               \
	ADDL  BIT(of, lzmsBit_zeros, context), BX   \
	MOVL  BX, BIT(of, lzmsBit_zeros, context)   \
	MOVL  BX, DX                                \
	SHRL  $6, DX                                \
	SUBL  DX, BX                                \
	MOVL  BX, BIT(of, lzmsBit_chance, context)

// ONE is lzmsBit.one.
#define ONE(of, context) \
	MOVQ  BIT(of, lzmsBit_recent, context), BX  \
	LEAQ  1(BX)(BX*1), DX                       \
	MOVQ  DX, BIT(of, lzmsBit_recent, context)  \
	SHRQ  $63, BX                               \
	ADDL  BIT(of, lzmsBit_zeros, context), BX   \
	SUBL  $1, BX                                \
	MOVL  BX, BIT(of, lzmsBit_zeros, context)   \
	CMPL  BX, $1                                \
	ADCL  $0, BX                                \
	MOVL  BX, BIT(of, lzmsBit_chance, context)

// CONTEXT puts the context of other decisions than isMatch into CX.
#define CONTEXT(of) \
	MOVL (of+lzmsDecisions_state)(R8), CX \
	SHLL $4, CX

// WENT notes in the context in CX that a decision went for bit.
#define WENT(of, mask, bit) \
	SHRL $3, CX                           \
	ORL  $bit, CX                         \
	ANDL $mask, CX                        \
	MOVL CX, (of+lzmsDecisions_state)(R8)

// FILL makes sure of at least 56 bits. What it reads beyond them comes again.
#define FILL \
	MOVQ  -8(R9), AX   \
	SHRXQ R11, AX, AX  \
	ORQ   AX, R10      \
	MOVL  R11, AX      \
	XORL  $63, AX      \
	SHRL  $3, AX       \
	SUBQ  AX, R9       \
	ORL   $56, R11

// SYMBOL takes a symbol, which comes to AX.
#define SYMBOL(of, width, long, found) \
	MOVQ    R10, AX                                \
	SHRQ    $(64-width), AX                        \
	MOVWLZX (of+lzmsCode_table)(R8)(AX*2), AX      \
	TESTL   AX, AX                                 \
	JEQ     long                                   \
found:                                                 \
	MOVL    AX, CX                                 \
	ANDL    $15, CX                                \
	SHLXQ   CX, R10, R10                           \
	SUBL    CX, R11                                \
	SHRL    $4, AX                                 \
	INCW    (of+lzmsCode_counts)(R8)(AX*2)

// LONG is lzmsCode.long, of a code that has symbols, and so one for all bits.
#define LONG(of, width, long, next, found) \
long:                                                  \
	MOVQ    R10, DX                                \
	SHRQ    $(64-const_lzmsMaxCode), DX            \
	MOVL    $width, CX                             \
next:                                                  \
	INCL    CX                                     \
	MOVL    (of+lzmsCode_ends)(R8)(CX*4), AX       \
	CMPL    DX, AX                                 \
	JAE     next                                   \
	SUBL    DX, AX                                 \
	DECL    AX                                     \
	MOVL    $const_lzmsMaxCode, DX                 \
	SUBL    CX, DX                                 \
	SHRXL   DX, AX, AX                             \
	MOVWLZX (of+lzmsCode_behind)(R8)(CX*2), DX     \
	SUBL    AX, DX                                 \
	DECL    DX                                     \
	MOVWLZX (of+lzmsCode_order)(R8)(DX*2), AX      \
	SHLL    $4, AX                                 \
	ORL     CX, AX                                 \
	JMP     found

// NUMBER makes the slot in AX a number, out of the table at the address in DX.
#define NUMBER \
	MOVQ  (DX)(AX*8), DX \
	MOVQ  DX, CX         \
	SHRQ  $32, CX        \
	MOVQ  R10, AX        \
	SHRQ  $1, AX         \
	SHLXQ CX, R10, R10   \
	SUBL  CX, R11        \
	XORL  $63, CX        \
	SHRXQ CX, AX, AX     \
	ADDL  DX, AX

// func lzmsRun(d *LZMS, dst []byte) (offset, length uint32)
TEXT ·lzmsRun(SB), NOSPLIT, $32-40
	MOVQ  d+0(FP), R8
	MOVQ  dst_base+8(FP), DI
	MOVQ  dst_len+16(FP), R15
	LEAQ  -32(DI)(R15*1), R15
	MOVQ  DI, 0(SP)
	ADDQ  LZMS_pos(R8), DI
	MOVQ  LZMS_src(R8), SI
	MOVQ  LZMS_back(R8), R9
	ADDQ  SI, R9
	ADDQ  LZMS_front(R8), SI
	MOVQ  LZMS_buf(R8), R10
	MOVQ  LZMS_n(R8), R11
	MOVL  LZMS_width(R8), R12
	MOVL  LZMS_code(R8), R13
	MOVL  (LZMS_isMatch+lzmsDecisions_state)(R8), R14
	SHLL  $4, R14
	MOVOU LZMS_lz(R8), X0

item:
	CMPQ DI, R15
	JAE  edge
	LEAQ MARGIN(SI), AX
	CMPQ AX, R9
	JAE  edge
	NORMAL(itemNormal)
	DECIDE(LZMS_isMatch, R14, match)

	MOVL AX, R12
	ZERO(LZMS_isMatch, R14)
	ADDL R14, R14
	ANDL $0xf0, R14
	MOVL $const_lzmsLiteral, LZMS_after(R8)
	CMPL R11, $const_lzmsMaxCode
	JAE  literal
	FILL

literal:
	SYMBOL(LZMS_literal, const_lzmsLiteralBits, literalLong, literalFound)
	MOVB AX, (DI)
	INCQ DI
	DECQ (LZMS_literal+lzmsCode_left)(R8)
	JNE  item
	JMP  edge

	// A match. Nothing is noted before it is sure not to be a delta match.
match:
	MOVQ SI, 8(SP)
	MOVL R12, 16(SP)
	MOVL R13, 24(SP)
	SUBL AX, R12
	SUBL AX, R13
	NORMAL(matchNormal)
	CONTEXT(LZMS_isDelta)
	DECIDE(LZMS_isDelta, CX, delta)
	MOVL AX, R12
	ZERO(LZMS_isDelta, CX)
	WENT(LZMS_isDelta, 31, 0)
	ONE(LZMS_isMatch, R14)
	LEAL 16(R14)(R14*1), R14
	ANDL $0xf0, R14

	NORMAL(repeatNormal)
	CONTEXT(LZMS_lzRepeat)
	DECIDE(LZMS_lzRepeat, CX, repeat)
	MOVL AX, R12
	ZERO(LZMS_lzRepeat, CX)
	WENT(LZMS_lzRepeat, 63, 0)
	FILL
	SYMBOL(LZMS_lzOffset, const_lzmsOffsetBits, offsetLong, offsetFound)
	DECQ (LZMS_lzOffset+lzmsCode_left)(R8)
	MOVQ ·lzmsOffsets(SB), DX
	NUMBER
	PSLLO $4, X0
	MOVQ AX, X1
	POR  X1, X0
	MOVL AX, BX

	// The offset is in BX.
length:
	FILL
	SYMBOL(LZMS_length, const_lzmsLengthBits, lengthLong, lengthFound)
	DECQ (LZMS_length+lzmsCode_left)(R8)
	MOVQ ·lzmsLengths(SB), DX
	NUMBER
	MOVL $const_lzmsLZ, LZMS_after(R8)

	// The length is in AX; DX becomes where it is copied from, CX the end.
	MOVQ  DI, CX
	SUBQ  0(SP), CX
	CMPQ  BX, CX
	JA    exit
	MOVQ  DI, DX
	SUBQ  BX, DX
	LEAQ  (DI)(AX*1), CX
	CMPL  AX, $16
	JA    copy
	CMPL  BX, $16
	JB    copy
	MOVOU (DX), X1
	MOVOU X1, (DI) // bytes too many are written again later

matched:
	MOVQ CX, DI
	CMPQ (LZMS_length+lzmsCode_left)(R8), $0
	JEQ  edge
	CMPQ (LZMS_lzOffset+lzmsCode_left)(R8), $0
	JNE  item

edge:
	MOVL $0, AX
	MOVL $0, BX

exit:
	MOVL  AX, length+36(FP)
	MOVL  BX, offset+32(FP)
	SUBQ  0(SP), DI
	MOVQ  DI, LZMS_pos(R8)
	SUBQ  LZMS_src(R8), SI
	MOVQ  SI, LZMS_front(R8)
	SUBQ  LZMS_src(R8), R9
	MOVQ  R9, LZMS_back(R8)
	MOVQ  R10, LZMS_buf(R8)
	MOVQ  R11, LZMS_n(R8)
	MOVL  R12, LZMS_width(R8)
	MOVL  R13, LZMS_code(R8)
	SHRL  $4, R14
	MOVL  R14, (LZMS_isMatch+lzmsDecisions_state)(R8)
	MOVOU X0, LZMS_lz(R8)
	RET

delta:
	MOVQ 8(SP), SI
	MOVL 16(SP), R12
	MOVL 24(SP), R13
	JMP  edge

	// An offset of the queue: the entry with the number in BX comes to its front.
repeat:
	SUBL AX, R12
	SUBL AX, R13
	ONE(LZMS_lzRepeat, CX)
	WENT(LZMS_lzRepeat, 63, 1)
	NORMAL(secondNormal)
	CONTEXT(LZMS_lzSecond)
	DECIDE(LZMS_lzSecond, CX, second)
	MOVL AX, R12
	ZERO(LZMS_lzSecond, CX)
	WENT(LZMS_lzSecond, 63, 0)
	MOVL $0, BX
	JMP  queue

second:
	SUBL AX, R12
	SUBL AX, R13
	ONE(LZMS_lzSecond, CX)
	WENT(LZMS_lzSecond, 63, 1)
	NORMAL(thirdNormal)
	CONTEXT(LZMS_lzThird)
	DECIDE(LZMS_lzThird, CX, third)
	MOVL AX, R12
	ZERO(LZMS_lzThird, CX)
	WENT(LZMS_lzThird, 63, 0)
	MOVL $16, BX
	JMP  queue

third:
	SUBL AX, R12
	SUBL AX, R13
	ONE(LZMS_lzThird, CX)
	WENT(LZMS_lzThird, 63, 1)
	MOVL $32, BX

queue:
	MOVL   LZMS_after(R8), AX
	ANDL   $const_lzmsLZ, AX
	SHLL   $4, AX
	ADDL   AX, BX
	LEAQ   lzmsOrders<>(SB), DX
	MOVOU  (DX)(BX*1), X1
	PSHUFB X1, X0
	MOVQ   X0, BX
	MOVL   BX, BX
	JMP    length

	// A match that is long or near. All but its last bytes are written 16 or 8 at a
	// time, as far as the bytes too many stay within dst.
copy:
	LEAQ    32(R15), AX
	CMPQ    CX, AX
	JA      tooLong
	MOVQ    CX, AX
	CMPQ    AX, R15
	CMOVQHI R15, AX
	CMPL    BX, $8
	JB      pattern
	CMPL    BX, $16
	JB      copy8

copy16:
	MOVOU (DX), X1
	MOVOU X1, (DI)
	ADDQ  $16, DX
	ADDQ  $16, DI
	CMPQ  DI, AX
	JB    copy16
	JMP   copyLast

copy8:
	MOVQ (DX), X1
	MOVQ X1, (DI)
	ADDQ $8, DX
	ADDQ $8, DI
	CMPQ DI, AX
	JB   copy8

copyLast:
	CMPQ    DI, CX
	JAE     matched
	MOVBLZX (DX), AX
	MOVB    AX, (DI)
	INCQ    DX
	INCQ    DI
	JMP     copyLast

	// The bytes of the offset are repeated in a register, as often as they fit.
pattern:
	MOVOU   (DX), X1
	LEAQ    lzmsPatterns<>(SB), DX
	SHLL    $4, BX
	MOVOU   (DX)(BX*1), X2
	PSHUFB  X2, X1
	SHRL    $4, BX
	LEAQ    lzmsSteps<>(SB), DX
	MOVBLZX (DX)(BX*1), BX

patterns:
	MOVOU X1, (DI)
	ADDQ  BX, DI
	CMPQ  DI, AX
	JB    patterns
	MOVQ  DI, DX
	SUBQ  BX, DX
	JMP   copyLast

	// Does not fit into dst.
tooLong:
	MOVQ CX, AX
	SUBQ DI, AX
	JMP  exit

	LONG(LZMS_literal, const_lzmsLiteralBits, literalLong, literalNext, literalFound)
	LONG(LZMS_lzOffset, const_lzmsOffsetBits, offsetLong, offsetNext, offsetFound)
	LONG(LZMS_length, const_lzmsLengthBits, lengthLong, lengthNext, lengthFound)

// Bytes for PSHUFB that bring entry 0, 1, 2 or 3 to the front.
DATA lzmsOrders<>+0x00(SB)/8, $0x0706050403020100
DATA lzmsOrders<>+0x08(SB)/8, $0x0f0e0d0c0b0a0908
DATA lzmsOrders<>+0x10(SB)/8, $0x0302010007060504
DATA lzmsOrders<>+0x18(SB)/8, $0x0f0e0d0c0b0a0908
DATA lzmsOrders<>+0x20(SB)/8, $0x030201000b0a0908
DATA lzmsOrders<>+0x28(SB)/8, $0x0f0e0d0c07060504
DATA lzmsOrders<>+0x30(SB)/8, $0x030201000f0e0d0c
DATA lzmsOrders<>+0x38(SB)/8, $0x0b0a090807060504
GLOBL lzmsOrders<>(SB), RODATA|NOPTR, $64

// Bytes for PSHUFB that repeat the first 1 to 7 bytes, and how many bytes of what
// comes of it are whole rows.
DATA lzmsPatterns<>+0x00(SB)/8, $0x0000000000000000
DATA lzmsPatterns<>+0x08(SB)/8, $0x0000000000000000
DATA lzmsPatterns<>+0x10(SB)/8, $0x0000000000000000
DATA lzmsPatterns<>+0x18(SB)/8, $0x0000000000000000
DATA lzmsPatterns<>+0x20(SB)/8, $0x0100010001000100
DATA lzmsPatterns<>+0x28(SB)/8, $0x0100010001000100
DATA lzmsPatterns<>+0x30(SB)/8, $0x0100020100020100
DATA lzmsPatterns<>+0x38(SB)/8, $0x0002010002010002
DATA lzmsPatterns<>+0x40(SB)/8, $0x0302010003020100
DATA lzmsPatterns<>+0x48(SB)/8, $0x0302010003020100
DATA lzmsPatterns<>+0x50(SB)/8, $0x0201000403020100
DATA lzmsPatterns<>+0x58(SB)/8, $0x0004030201000403
DATA lzmsPatterns<>+0x60(SB)/8, $0x0100050403020100
DATA lzmsPatterns<>+0x68(SB)/8, $0x0302010005040302
DATA lzmsPatterns<>+0x70(SB)/8, $0x0006050403020100
DATA lzmsPatterns<>+0x78(SB)/8, $0x0100060504030201
GLOBL lzmsPatterns<>(SB), RODATA|NOPTR, $128

DATA lzmsSteps<>+0x00(SB)/8, $0x0e0c0f100f101010
GLOBL lzmsSteps<>(SB), RODATA|NOPTR, $8

// MARK16 puts into the register the bits for the 16 bytes at SI+at: e8 and e9; 48 8d and
// 4c 8d; 48 8b; f0 83; ff 15. X5 to X15 hold lzmsMarkBytes.
#define MARK16(at, bits) \
	MOVOU    at(SI), X0   \
	MOVOU    (at+1)(SI), X1 \
	MOVO     X0, X2       \
	POR      X5, X2       \
	PCMPEQB  X6, X2       \
	MOVO     X0, X3       \
	POR      X7, X3       \
	PCMPEQB  X8, X3       \
	MOVO     X1, X4       \
	PCMPEQB  X9, X4       \
	PAND     X4, X3       \
	POR      X3, X2       \
	MOVO     X0, X3       \
	PCMPEQB  X10, X3      \
	MOVO     X1, X4       \
	PCMPEQB  X11, X4      \
	PAND     X4, X3       \
	POR      X3, X2       \
	MOVO     X0, X3       \
	PCMPEQB  X12, X3      \
	MOVO     X1, X4       \
	PCMPEQB  X13, X4      \
	PAND     X4, X3       \
	POR      X3, X2       \
	PCMPEQB  X14, X0      \
	PCMPEQB  X15, X1      \
	PAND     X0, X1       \
	POR      X1, X2       \
	PMOVMSKB X2, bits

// func lzmsMarkWords(marks []uint64, b []byte)
TEXT ·lzmsMarkWords(SB), NOSPLIT, $0-48
	MOVQ  marks_base+0(FP), DI
	MOVQ  marks_len+8(FP), CX
	MOVQ  b_base+24(FP), SI
	LEAQ  lzmsMarkBytes<>(SB), AX
	MOVOU 0x00(AX), X5
	MOVOU 0x10(AX), X6
	MOVOU 0x20(AX), X7
	MOVOU 0x30(AX), X8
	MOVOU 0x40(AX), X9
	MOVOU 0x50(AX), X10
	MOVOU 0x60(AX), X11
	MOVOU 0x70(AX), X12
	MOVOU 0x80(AX), X13
	MOVOU 0x90(AX), X14
	MOVOU 0xa0(AX), X15

word:
	MARK16(0, AX)
	MARK16(16, BX)
	SHLL  $16, BX
	ORL   BX, AX
	MARK16(32, BX)
	MARK16(48, DX)
	SHLL  $16, DX
	ORL   DX, BX
	SHLQ  $32, BX
	ORQ   BX, AX
	MOVQ  AX, (DI)
	ADDQ  $64, SI
	ADDQ  $8, DI
	DECQ  CX
	JNE   word
	RET

// What first and second bytes are compared with, 16 times each.
DATA lzmsMarkBytes<>+0x00(SB)/8, $0x0101010101010101
DATA lzmsMarkBytes<>+0x08(SB)/8, $0x0101010101010101
DATA lzmsMarkBytes<>+0x10(SB)/8, $0xe9e9e9e9e9e9e9e9
DATA lzmsMarkBytes<>+0x18(SB)/8, $0xe9e9e9e9e9e9e9e9
DATA lzmsMarkBytes<>+0x20(SB)/8, $0x0404040404040404
DATA lzmsMarkBytes<>+0x28(SB)/8, $0x0404040404040404
DATA lzmsMarkBytes<>+0x30(SB)/8, $0x4c4c4c4c4c4c4c4c
DATA lzmsMarkBytes<>+0x38(SB)/8, $0x4c4c4c4c4c4c4c4c
DATA lzmsMarkBytes<>+0x40(SB)/8, $0x8d8d8d8d8d8d8d8d
DATA lzmsMarkBytes<>+0x48(SB)/8, $0x8d8d8d8d8d8d8d8d
DATA lzmsMarkBytes<>+0x50(SB)/8, $0x4848484848484848
DATA lzmsMarkBytes<>+0x58(SB)/8, $0x4848484848484848
DATA lzmsMarkBytes<>+0x60(SB)/8, $0x8b8b8b8b8b8b8b8b
DATA lzmsMarkBytes<>+0x68(SB)/8, $0x8b8b8b8b8b8b8b8b
DATA lzmsMarkBytes<>+0x70(SB)/8, $0xf0f0f0f0f0f0f0f0
DATA lzmsMarkBytes<>+0x78(SB)/8, $0xf0f0f0f0f0f0f0f0
DATA lzmsMarkBytes<>+0x80(SB)/8, $0x8383838383838383
DATA lzmsMarkBytes<>+0x88(SB)/8, $0x8383838383838383
DATA lzmsMarkBytes<>+0x90(SB)/8, $0xffffffffffffffff
DATA lzmsMarkBytes<>+0x98(SB)/8, $0xffffffffffffffff
DATA lzmsMarkBytes<>+0xa0(SB)/8, $0x1515151515151515
DATA lzmsMarkBytes<>+0xa8(SB)/8, $0x1515151515151515
GLOBL lzmsMarkBytes<>(SB), RODATA|NOPTR, $176

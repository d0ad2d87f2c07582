/* A stand-in for wimboot on UEFI: it lists the files that iPXE was given, each with
   its size and CRC-32. iPXE shows them to it as a file system on the device that the
   program came from, which is how wimboot gets them.

   Built with x86_64-w64-mingw32-gcc -nostdlib -Wl,--subsystem,10 -e efi_main. */

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef struct { u32 a; u16 b, c; unsigned char d[8]; } guid;
typedef u64 (*call)();

/* Places of what is used in the tables of the UEFI Specification. */
#define at(table, offset) (*(void **)((char *)(table) + (offset)))
#define function(table, offset) ((call)at(table, offset))
#define service(n) function(at(system, 96), 24 + 8 * (n)) /* of the boot services */
enum { ALLOCATE_POOL = 5, FREE_POOL = 6, HANDLE_PROTOCOL = 16, STALL = 28, CALCULATE_CRC32 = 40 };

static void *system;

/* An address in the data gives the program a table of relocations, without which
   firmware would load it to no other place than it was linked for. */
static void *address __attribute__((used)) = &system;

static void print(const u16 *text) { function(at(system, 64), 8)(at(system, 64), text); }

static void number(u64 n, unsigned base, int digits)
{
	u16 text[24];
	int i = 23;
	text[i] = 0;
	do
		text[--i] = "0123456789abcdef"[n % base];
	while ((n /= base) || 23 - i < digits);
	print(text + i);
}

u64 efi_main(void *image, void *table)
{
	static guid loaded = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
	static guid files = {0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
	void *self, *volume, *root, *file, *data;
	static char info[1024]; /* EFI_FILE_INFO: the size is at 8, the name at 80 */
	u64 size;
	u32 crc;

	system = table;
	print(u"stand-in: running\r\n");
	if (service(HANDLE_PROTOCOL)(image, &loaded, &self) || service(HANDLE_PROTOCOL)(at(self, 24), &files, &volume) ||
	    function(volume, 8)(volume, &root)) {
		print(u"stand-in: no files\r\n");
		return 1;
	}
	for (size = sizeof info; !function(root, 32)(root, &size, info) && size; size = sizeof info) {
		u16 *name = (u16 *)(info + 80);
		size = *(u64 *)(info + 8);
		print(u"stand-in: ");
		print(name);
		print(u" ");
		number(size, 10, 1);
		if (service(ALLOCATE_POOL)(2, size, &data) || function(root, 8)(root, &file, name, (u64)1, (u64)0) ||
		    function(file, 32)(file, &size, data) || service(CALCULATE_CRC32)(data, size, &crc)) {
			print(u" cannot be read\r\n");
			continue;
		}
		function(file, 16)(file);
		service(FREE_POOL)(data);
		print(u" ");
		number(crc, 16, 8);
		print(u"\r\n");
	}
	print(u"stand-in: done\r\n");
	for (;;)
		service(STALL)((u64)1000000);
}

// SPDX-License-Identifier: MIT
/* Keeps code.h. */
#include "code.h"

#include <errno.h>
#include <liburing.h>
#include <link.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef LINNET_HAVE_LIBDRM
#include <xf86drm.h>
#endif

/* Where a segment lies, in whole pages. */
static uintptr_t segment(const struct dl_phdr_info *o, unsigned i, size_t *bytes)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const uintptr_t from = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
	const uintptr_t begin = from & ~(page - 1);

	*bytes = (from + o->dlpi_phdr[i].p_memsz - begin + page - 1) & ~(page - 1);
	return begin;
}

static bool needed(const struct dl_phdr_info *o)
{
	const uintptr_t of[] = {
		(uintptr_t)linnet_code_keep,
		(uintptr_t)pread,
		(uintptr_t)expf,
		(uintptr_t)io_uring_queue_init,
#ifdef LINNET_HAVE_LIBDRM
		(uintptr_t)drmIoctl,
#endif
	};

	/* who finds a function that is called for the first time */
	if (o->dlpi_addr && o->dlpi_addr == getauxval(AT_BASE))
		return true;
	for (unsigned i = 0; i < o->dlpi_phnum; i++) {
		size_t bytes;
		const uintptr_t begin = segment(o, i, &bytes);

		if (o->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		for (size_t k = 0; k < sizeof(of) / sizeof(of[0]); k++)
			if (of[k] - begin < bytes)
				return true;
	}
	return false;
}

static int keep(struct dl_phdr_info *o, size_t size, void *arg)
{
	int *ret = arg;

	(void)size;
	for (unsigned i = 0; needed(o) && i < o->dlpi_phnum; i++) {
		size_t bytes;
		const uintptr_t begin = segment(o, i, &bytes);

		/* what may be written has been, where it matters: it is no file's any more */
		if (o->dlpi_phdr[i].p_type == PT_LOAD && !(o->dlpi_phdr[i].p_flags & PF_W) &&
		    mlock2((void *)begin, bytes, MLOCK_ONFAULT))
			*ret = -errno;
	}
	return 0;
}

int linnet_code_keep(void)
{
	int ret = 0;

	dl_iterate_phdr(keep, &ret);
	return ret;
}

# SPDX-License-Identifier: MIT
# Userspace build of Linnet (GNU make). `make`, `make O=DIR`, `make tests`, `make
# install DESTDIR= PREFIX= LIBDIR=`, `make uninstall` with the same variables.
# Sources are found by folder; a kernel's instruction set is the suffix of its
# file name.

O ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
CC ?= cc
CFLAGS ?= -O2 -g
WERROR ?=
KERNEL_OPT ?= -O3
PKG_CONFIG ?= pkg-config

arch := $(shell $(CC) -dumpmachine | cut -d- -f1)

override CPPFLAGS += -D_GNU_SOURCE -Iruntime/include -Iuapi -I.
override CFLAGS += -std=gnu11 -fPIC -pthread -ffp-contract=off -fno-math-errno \
	-fvisibility=default -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wno-unused-parameter -Wno-missing-field-initializers \
	-Wno-gnu-variable-sized-type-not-at-end $(WERROR)

lib_pkgs := liburing libpcre2-8 libxxhash
# Optional: without it there is no accel engine, and that engine says so.
ifeq ($(shell $(PKG_CONFIG) --exists libdrm && echo yes),yes)
lib_pkgs += libdrm
override CPPFLAGS += -DLINNET_HAVE_LIBDRM
endif
# Optional: without it nothing is placed on memory nodes.
ifeq ($(shell $(PKG_CONFIG) --exists numa && echo yes),yes)
lib_pkgs += numa
override CPPFLAGS += -DLINNET_HAVE_LIBNUMA
endif
tool_pkgs := jansson
lib_cflags := $(shell $(PKG_CONFIG) --cflags $(lib_pkgs))
lib_libs := $(shell $(PKG_CONFIG) --libs $(lib_pkgs)) -lm
tool_cflags := $(shell $(PKG_CONFIG) --cflags $(tool_pkgs))
tool_libs := $(shell $(PKG_CONFIG) --libs $(tool_pkgs))

lib_src := $(wildcard kernels/*.c kernels/ref/*.c runtime/*/*.c)
ifeq ($(arch),x86_64)
lib_src += $(wildcard kernels/x86/*.c)
endif
ifeq ($(arch),aarch64)
lib_src += $(wildcard kernels/arm/*.c)
endif
lib_obj := $(lib_src:%.c=$(O)/obj/%.o)
# The AVX2 products are compiled again for AVX-VNNI, and for checkasm with EVEX encodings.
ifeq ($(arch),x86_64)
vnni_src := $(filter-out %_f32_avx2.c %_f16_avx2.c %_bf16_avx2.c, \
	$(wildcard kernels/x86/matmul_*_avx2.c)) kernels/x86/limits_avx2.c
lib_obj += $(vnni_src:%_avx2.c=$(O)/obj/%_avxvnni.o)
endif
tool_src := $(wildcard tools/linnet/*.c)
tool_obj := $(tool_src:%.c=$(O)/obj/%.o)
# The vhost-user device: a part of the tool that tests use, too.
device_src := $(wildcard tools/device/*.c)
device_obj := $(device_src:%.c=$(O)/obj/%.o)
test_src := $(wildcard tests/unit/*.c tests/kernels/*.c tests/model/*.c tests/fault/*.c \
	tests/device/*.c)
test_bin := $(test_src:%.c=$(O)/%)
test_bin_vm := $(O)/tests/vm/liar $(O)/tests/vm/budget $(O)/tests/vm/idle
preload_so := $(patsubst %.c,$(O)/%.so,$(wildcard tests/fault/preload/*.c))
# One program of several files: kernels against their reference.
checkasm_obj := $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/kernels/checkasm/*.c))
ifeq ($(arch),x86_64)
checkasm_obj += $(vnni_src:%_avx2.c=$(O)/obj/%_evexvnni.o)
endif
test_bin += $(O)/tests/kernels/checkasm

# Kernels are where the time goes; the rest is compiled for size of the diff.
$(O)/obj/kernels/%.o: override CFLAGS += $(KERNEL_OPT)
$(O)/obj/kernels/x86/%_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c -mbmi2
$(O)/obj/kernels/x86/%_avxvnni.o: override CFLAGS += -mavx2 -mfma -mf16c -mbmi2 -mavxvnni \
	-DLINNET_VNNI=1
$(O)/obj/kernels/x86/%_evexvnni.o: override CFLAGS += -mavx2 -mfma -mf16c -mbmi2 -mavx512vl \
	-mavx512vnni -DLINNET_VNNI=2
$(O)/obj/kernels/x86/%_avx512.o: override CFLAGS += -march=icelake-server -mtune=znver3
$(O)/obj/kernels/arm/%_dotprod.o: override CFLAGS += -march=armv8.2-a+dotprod
$(O)/obj/kernels/arm/%_i8mm.o: override CFLAGS += -march=armv8.2-a+dotprod+i8mm
# Unrolled vector code takes compilers minutes to instrument in full; sanitized builds
# may say here what is enough.
VECTOR_CFLAGS ?=
$(O)/obj/kernels/x86/%.o $(O)/obj/kernels/arm/%.o: override CFLAGS += $(VECTOR_CFLAGS)

.DEFAULT_GOAL := all
.PHONY: all tests list-tests clean install uninstall force
.SECONDARY:
.DELETE_ON_ERROR:

all: $(O)/liblinnet.a $(O)/liblinnet.so $(if $(tool_src),$(O)/linnet)

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(lib_cflags) $(if $(filter tools/%,$<),$(tool_cflags)) \
		-MMD -MP -c -o $@ $<

$(O)/obj/%_avxvnni.o: %_avx2.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(lib_cflags) -MMD -MP -c -o $@ $<

$(O)/obj/%_evexvnni.o: %_avx2.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(lib_cflags) -MMD -MP -c -o $@ $<

$(O)/liblinnet.a: $(lib_obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/libdevice.a: $(device_obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/liblinnet.so.0: $(lib_obj) runtime/liblinnet.map
	$(CC) -shared -Wl,-soname,liblinnet.so.0 -Wl,--version-script=runtime/liblinnet.map \
		-Wl,-z,defs $(LDFLAGS) $(CFLAGS) -o $@ $(lib_obj) $(lib_libs)

$(O)/liblinnet.so: $(O)/liblinnet.so.0
	ln -sf liblinnet.so.0 $@

# The tool uses the public API alone, but for the device: it is linked against the shared
# library's symbols in the test-suite, and statically here so that it runs from anywhere.
$(O)/linnet: $(tool_obj) $(O)/libdevice.a $(O)/liblinnet.a
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs) $(tool_libs)

# What `linnet bench` reports about the build; rewritten only when it changes.
$(O)/obj/tools/linnet/bench.o: $(O)/gen/build-info.h
$(O)/obj/tools/%.o: override CPPFLAGS += -I$(O)/gen
$(O)/gen/build-info.h: force
	@mkdir -p $(@D)
	@{ commit=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown); \
	   number=$$(git rev-list --count HEAD 2>/dev/null || echo 0); \
	   echo "#define BUILD_COMMIT \"$$commit\""; \
	   echo "#define BUILD_NUMBER $$number"; } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

tests: all $(test_bin) $(test_bin_vm) $(preload_so)

# Names of the C tests, for tests/run.sh.
list-tests:
	@printf '%s\n' $(test_bin:$(O)/tests/%=%)

$(O)/tests/%: $(O)/obj/tests/%.o $(O)/libdevice.a $(O)/liblinnet.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs)

# A device that lies: the functions that speak to the guest are replaced.
$(O)/tests/vm/liar: override LDFLAGS += -Wl,--wrap=vq_push,--wrap=device_message

$(O)/tests/kernels/checkasm: $(checkasm_obj) $(O)/liblinnet.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs)

# The same of kernels alone, for machines whose libraries are not here.
kernel_obj := $(filter $(O)/obj/kernels/%,$(lib_obj))
$(O)/tests/kernels/checkasm-static: $(checkasm_obj) $(kernel_obj)
	@mkdir -p $(@D)
	$(CC) -static $(LDFLAGS) $(CFLAGS) -o $@ $^ -lm

# Objects for LD_PRELOAD stand in for parts of the C library: no sanitizer, and no
# built-in knowledge of what malloc() does.
$(O)/tests/fault/preload/%.so: tests/fault/preload/%.c tests/fault/preload/fail.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g -fPIC -fno-builtin -Wall -Wextra $(WERROR) -shared \
		-o $@ $< -ldl

version := $(shell sed -n 's/^\#define LINNET_VERSION_[A-Z]* \([0-9]*\)$$/\1/p' \
	runtime/include/linnet/linnet.h | paste -sd. -)
bindir := $(DESTDIR)$(PREFIX)/bin
libdir := $(DESTDIR)$(LIBDIR)
incdir := $(DESTDIR)$(PREFIX)/include/linnet
mandir := $(DESTDIR)$(PREFIX)/share/man/man1
datadir := $(DESTDIR)$(PREFIX)/share/linnet
docdir := $(DESTDIR)$(PREFIX)/share/doc/linnet
man := $(wildcard Documentation/man/*.1)

install: all
	install -d $(bindir) $(libdir)/pkgconfig $(incdir) $(mandir) $(datadir) $(docdir)
	install -m 755 $(O)/linnet $(bindir)/
	install -m 755 $(O)/liblinnet.so.0 $(libdir)/liblinnet.so.$(version)
	ln -sf liblinnet.so.$(version) $(libdir)/liblinnet.so.0
	ln -sf liblinnet.so.0 $(libdir)/liblinnet.so
	install -m 644 $(O)/liblinnet.a $(libdir)/
	install -m 644 runtime/include/linnet/linnet.h $(incdir)/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(version)|' \
		-e 's|@PRIVATE@|$(lib_pkgs)|' runtime/linnet.pc.in >$(libdir)/pkgconfig/linnet.pc
	install -m 644 $(man) $(mandir)/
	install -m 644 tools/demo/linnet-demo.gguf $(datadir)/
	install -m 644 LICENSES/* $(docdir)/

uninstall:
	rm -f $(bindir)/linnet $(libdir)/liblinnet.so.$(version) $(libdir)/liblinnet.so.0 \
		$(libdir)/liblinnet.so $(libdir)/liblinnet.a $(incdir)/linnet.h \
		$(libdir)/pkgconfig/linnet.pc $(addprefix $(mandir)/,$(notdir $(man))) \
		$(datadir)/linnet-demo.gguf $(addprefix $(docdir)/,$(notdir $(wildcard LICENSES/*)))
	rmdir $(incdir) $(datadir) $(docdir) 2>/dev/null || :

clean:
	rm -rf $(O)

# Programs that test the kernel module; they run where it is loaded (tests/vm).
selftest_src := $(filter-out tests/selftests/dev.c,$(wildcard tests/selftests/*.c))
selftest_obj := $(selftest_src:%.c=$(O)/obj/%.o) $(O)/obj/tests/selftests/dev.o
.PHONY: selftests
selftests: $(selftest_src:%.c=$(O)/%) $(O)/tests/bench/submit $(O)/obj/uapi.checked
$(O)/obj/tests/selftests/%.o: override CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libdrm)
$(O)/tests/selftests/%: $(O)/obj/tests/selftests/%.o $(O)/obj/tests/selftests/dev.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(shell $(PKG_CONFIG) --libs liburing)
$(O)/tests/bench/submit: $(O)/obj/tests/bench/submit.o $(O)/obj/tests/selftests/dev.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(shell $(PKG_CONFIG) --libs liburing)
$(O)/obj/tests/bench/submit.o: override CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libdrm)
-include $(selftest_obj:.o=.d) $(O)/obj/tests/bench/submit.d

# The user space header by itself: C, C++, and the layout of 32-bit programs.
$(O)/obj/uapi.checked: uapi/drm/linnet_accel.h
	@mkdir -p $(@D)
	@for cc in '$(CC) -x c' 'c++ -x c++' 'clang -m32 -ffreestanding -x c'; do \
		command -v $${cc%% *} >/dev/null || continue; \
		echo '#include <drm/linnet_accel.h>' | $$cc -Iuapi -Wall -Wextra -Werror \
			$(shell $(PKG_CONFIG) --cflags libdrm) \
			-isystem /usr/include/$(shell $(CC) -print-multiarch) -fsyntax-only - || \
			exit 1; \
	done
	@touch $@

# The kernel module, built by the kernel's own rules: driver/linnet.ko.
KDIR ?= /lib/modules/$(shell uname -r)/build
.PHONY: modules modules_install modules_clean
modules:
	@test -e $(KDIR)/Makefile || { echo "no kernel headers at KDIR=$(KDIR)" >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
modules_install modules_clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) $(@:modules_clean=clean)

-include $(lib_obj:.o=.d) $(tool_obj:.o=.d) $(device_obj:.o=.d) $(checkasm_obj:.o=.d) \
	$(test_src:%.c=$(O)/obj/%.d) $(test_bin_vm:$(O)/%=$(O)/obj/%.d)

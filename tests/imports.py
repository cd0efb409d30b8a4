"What a statement imports of the package itself, and a Python in which modules are not there."
import ast
import subprocess
import sys

PACKAGE = "fourier_mask"


def own_modules(node: ast.AST) -> list[str]:
    "Names of the package's modules that a node imports; the package's own name for its root."
    if isinstance(node, ast.Import):
        paths = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = ".".join(filter(None, [PACKAGE if node.level else None, node.module]))
        paths = [f"{module}.{alias.name}" for alias in node.names] if module == PACKAGE else [module]
    else: return []
    return [path.split(".")[1] if "." in path else path for path in paths if path.split(".")[0] == PACKAGE]


def others_modules(node: ast.AST) -> list[str]:
    "Names of packages that a node imports and that are neither ours nor Python's."
    if isinstance(node, ast.Import): names = [alias.name.split(".")[0] for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level: names = [node.module.split(".")[0]]
    else: return []
    return [name for name in names if name != PACKAGE and name not in sys.stdlib_module_names]


ABSENT = """
import sys

class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in absent else self.finder.find_spec(name, path, target)

absent = set({names!r})
for name in list(sys.modules):
    if name.split(".")[0] in absent: del sys.modules[name]
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def run_without(names, code: str, before: str = "", **options) -> subprocess.CompletedProcess:
    "Run code in a Python that finds none of these modules, as if they were not installed; `before` still finds them."
    command = [sys.executable, "-c", before + ABSENT.format(names=sorted(names)) + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)

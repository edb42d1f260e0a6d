"""The dashboards, as data. Every panel is split by label, so a new model appears by itself."""

from tools.dashboards.boards.call import CALL
from tools.dashboards.boards.capacity import CAPACITY
from tools.dashboards.boards.faces import FACES
from tools.dashboards.boards.hardware import HARDWARE
from tools.dashboards.boards.loras import LORAS
from tools.dashboards.boards.models import MODELS
from tools.dashboards.boards.money import MONEY

BOARDS = (CAPACITY, MODELS, CALL, LORAS, MONEY, FACES, HARDWARE)

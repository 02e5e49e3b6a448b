"""Words by which headers name species, body parts and views, in English and Spanish.

Without accents, upper case. Vocabulary of CID 4009 and 4010 and of what technicians type.
"""

from __future__ import annotations

from processors.gate._text import words

HUMAN = words("human humano humana sapiens")
ANIMAL = words(
    "canine canino feline felino equine equino bovine porcine avian veterinary veterinaria "
    "veterinario dog cat horse perro gato caballo"
)
ELSEWHERE = words(
    "knee rodilla hip cadera pelvis pelvic pelvica hand mano wrist muneca elbow codo foot pie "
    "ankle tobillo femur tibia fibula perone humerus humero forearm antebrazo finger dedo toe leg "
    "pierna arm brazo extremity extremidad shoulder hombro clavicle clavicula skull craneo head "
    "cabeza teeth dental dientes panoramic orthopantomogram ortopantomografia mandible mandibula "
    "jaw sinus senos neck cuello spine columna cspine lspine tspine lumbar cervical sacrum sacro "
    "coccyx abdomen abdominal kub breast mama mammo mamografia calcaneus scapula escapula "
    "sternum esternon rib ribs costilla costillas parrilla heel talon patella rotula"
)
# in free text these also mean other things: de pie (standing), senos costofrenicos, C-arm
SURELY_ELSEWHERE = ELSEWHERE - words("pie senos arm leg head neck mama talon")
FRONTAL = words("PA AP posteroanterior anteroposterior postero antero")
LATERAL = words(
    "LL RL LLD RLD lat lateral lateralis perfil oblique oblicua oblicuo LAO RAO LPO RPO LLO RLO "
    "decubitus decubito"
)
# a filled-in field that says nothing
SILENT = words("unknown other none unspecified default na desconocido otro ninguno")
CHEST_CODES = ("816094009", "51185008", "T-D3000")  # SCT chest, thoracic structure; SRT chest
